"""Rejection sampling: draws answers until the best one is likely enough to be the best, or there are enough of them.

    python examples/rejection_sampling.py http://127.0.0.1:8080 "What is 17 + 25?" --until 0.9

The address is that of an OpenAI-compatible server (examples/sampler.py).
"""

import click
from sampler import MAX_TOKENS, Sampler

import flame_rank


def sample_until_sure(
    sampler: Sampler, prompt: str, reranker: flame_rank.Reranker, *, until: float, step: int = 4, most: int = 16
) -> flame_rank.Ranking:
    """Returns the ranking of all answers drawn.

    Args:
      until: the P(best) that is enough. Equal answers count as one option, so it rises as answers agree.
      step: answers that are drawn before each ranking.
      most: answers at most.
    """
    answers: list[flame_rank.Candidate] = []
    while True:
        answers += sampler.sample(prompt, min(step, most - len(answers)), first_seed=len(answers))
        ranking = reranker.rank(prompt, answers)
        if len(answers) >= most or (ranking.decided and ranking.p_best[ranking.order[0]] >= until):
            return ranking


@click.command(help=__doc__)
@click.argument("url")
@click.argument("prompts", nargs=-1, required=True)
@click.option("--until", default=0.8, show_default=True, help="The P(best) that is enough.")
@click.option("--most", default=16, show_default=True, help="Answers to a prompt at most.")
@click.option("--judge", default="default", show_default=True)
@MAX_TOKENS
def main(url: str, prompts: tuple[str, ...], until: float, most: int, judge: str, max_tokens: int) -> None:
    sampler, reranker = Sampler(url, max_tokens=max_tokens), flame_rank.Reranker(judge)
    for prompt in prompts:
        ranking = sample_until_sure(sampler, prompt, reranker, until=until, most=most)
        click.echo(f"{prompt}\n  {len(ranking)} answers, P(best) {ranking.p_best[ranking.order[0]]:.2f}")
        click.echo(f"  {ranking.problem.texts[ranking.order[0]].strip()}")


if __name__ == "__main__":
    main()
