"""Best of N in a sampling loop: draw samples from a generator, keep the one that the judge ranks first.

    python examples/sampling_loop.py

The generator here is a list of prepared samples; put your own model's call in its place.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import flame_rank

N = 8  # samples a problem


def best_of(
    generate: Callable[[str], str], prompts: list[str], reranker: flame_rank.Reranker
) -> Iterator[flame_rank.Ranking]:
    """Yields the ranking of N samples for each prompt; all prompts share the reranker's batches."""
    problems = (
        flame_rank.Problem(prompt=prompt, candidates=[generate(prompt) for _ in range(N)]) for prompt in prompts
    )
    return reranker.rank_many(problems)


def main() -> None:
    samples = Path(__file__).with_name("samples.jsonl")
    prepared = {p.prompt: itertools.cycle(p.texts) for p in flame_rank.read_problems(samples)}

    def generate(prompt: str) -> str:
        return next(prepared[prompt])

    for ranking in best_of(generate, list(prepared), flame_rank.Reranker()):
        print(f"--- {ranking.problem.prompt.strip().splitlines()[0]}")
        chance = ranking.p_best[ranking.order[0]]
        print(f"the best of {len(set(ranking.problem.texts))} distinct samples with probability {chance:.2f}:")
        print(ranking.best)


if __name__ == "__main__":
    main()
