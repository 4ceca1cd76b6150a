"""Best of N in a sampling loop: draws samples from a generator and keeps the one that the judge ranks first.

    python examples/sampling_loop.py
    python examples/sampling_loop.py --url http://127.0.0.1:8080 "How do I hard-boil an egg?"

Without --url the generator is a list of prepared samples; with it, a model behind an OpenAI-compatible server
(examples/sampler.py).
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import click

import flame_rank

N = 8  # samples a problem
Generate = Callable[[str, int], list[str | flame_rank.Candidate]]  # draws N answers to a prompt


def best_of(generate: Generate, prompts: list[str], reranker: flame_rank.Reranker) -> Iterator[flame_rank.Ranking]:
    """Yields the ranking of N samples for each prompt; all prompts share the reranker's batches."""
    problems = (flame_rank.Problem(prompt=prompt, candidates=generate(prompt, N)) for prompt in prompts)
    return reranker.rank_many(problems)


def prepared() -> tuple[Generate, list[str]]:
    """Returns a generator that repeats the samples in samples.jsonl, and their prompts."""
    samples = Path(__file__).with_name("samples.jsonl")
    texts = {problem.prompt: itertools.cycle(problem.texts) for problem in flame_rank.read_problems(samples)}
    return lambda prompt, n: list(itertools.islice(texts[prompt], n)), list(texts)


@click.command(help=__doc__)
@click.argument("prompts", nargs=-1)
@click.option("--url", help="The address of a server; without it, prepared samples.")
@click.option("--judge", default="default", show_default=True)
@click.option("--max-tokens", default=512, show_default=True, help="Of one answer at most.")
def main(prompts: tuple[str, ...], url: str | None, judge: str, max_tokens: int) -> None:
    if (url is None) == bool(prompts):
        raise click.UsageError("give prompts and the --url of a server, or neither")
    if url is None:
        generate, given = prepared()
    else:
        from sampler import Sampler

        sampler, given = Sampler(url, max_tokens=max_tokens), list(prompts)
        generate = lambda prompt, n: [*sampler.sample(prompt, n)]  # noqa: E731
    for ranking in best_of(generate, given, flame_rank.Reranker(judge)):
        click.echo(f"--- {ranking.problem.prompt.strip().splitlines()[0]}")
        chance = ranking.p_best[ranking.order[0]]
        click.echo(f"the best of {len(set(ranking.problem.texts))} distinct samples with probability {chance:.2f}:")
        click.echo(ranking.problem.texts[ranking.order[0]])


if __name__ == "__main__":
    main()
