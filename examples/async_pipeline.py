"""A pipeline in asyncio: prompts are sampled while others are judged, and each ranking comes as soon as it is done.

    python examples/async_pipeline.py http://127.0.0.1:8080 "Name a fruit." "Name a river in France."

The address is that of an OpenAI-compatible server (examples/sampler.py).
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

import click
from sampler import MAX_TOKENS, Sampler

import flame_rank


async def sampled(
    sampler: Sampler, prompts: Sequence[str], n: int, at_once: int = 4
) -> AsyncIterator[flame_rank.Problem]:
    """Yields each prompt with n samples as soon as it has them; `at_once` prompts are sampled at the same time."""
    turn = asyncio.Semaphore(at_once)

    async def sample(prompt: str) -> flame_rank.Problem:
        async with turn:
            return flame_rank.Problem(prompt=prompt, candidates=await sampler.sample_at_once(prompt, n))

    tasks = [asyncio.create_task(sample(prompt)) for prompt in prompts]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        for task in tasks:
            task.cancel()


async def ranked(sampler: Sampler, prompts: Sequence[str], n: int, judge: str) -> None:
    reranker = flame_rank.Reranker(judge, ordered=False)
    async for ranking in reranker.arank_many(sampled(sampler, prompts, n)):
        best = ranking.problem.texts[ranking.order[0]].strip().splitlines()
        click.echo(f"{ranking.problem.prompt}\n  {best[0] if best else ''}")


@click.command(help=__doc__)
@click.argument("url")
@click.argument("prompts", nargs=-1, required=True)
@click.option("--samples", default=4, show_default=True, help="Answers to each prompt.")
@click.option("--judge", default="default", show_default=True)
@MAX_TOKENS
def main(url: str, prompts: tuple[str, ...], samples: int, judge: str, max_tokens: int) -> None:
    asyncio.run(ranked(Sampler(url, max_tokens=max_tokens), prompts, samples, judge))


if __name__ == "__main__":
    main()
