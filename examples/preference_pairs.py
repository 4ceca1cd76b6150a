"""Makes pairs for DPO: samples answers, ranks them, and writes the best and the worst of each prompt.

    python examples/preference_pairs.py http://127.0.0.1:8080 PROMPTS.txt pairs.jsonl --margin 1.1

PROMPTS.txt has a prompt a line, and the address is that of an OpenAI-compatible server (examples/sampler.py). TRL's
DPOTrainer takes the pairs as they are: `load_dataset("json", data_files="pairs.jsonl")`. `flame-rank rerank SAMPLES
--format pairs` makes the same pairs of samples that are in a file.
"""

from collections.abc import Iterator
from pathlib import Path

import click
from sampler import MAX_TOKENS, Sampler

import flame_rank
from flame_rank.io.output import Output
from flame_rank.io.selection import Pairs


def problems(sampler: Sampler, prompts: list[str], n: int) -> Iterator[flame_rank.Problem]:
    """Yields each prompt with n samples, one prompt after the other: only the open problems are in memory."""
    for k, prompt in enumerate(prompts):
        yield flame_rank.Problem(prompt=prompt, candidates=sampler.sample(prompt, n), name=f"prompt {k}")


@click.command(help=__doc__)
@click.argument("url")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out")
@click.option("--samples", default=8, show_default=True, help="Answers to each prompt.")
@click.option("--margin", default=0.0, show_default=True, help="Least difference of scores, in nats.")
@click.option("--judge", default="default", show_default=True)
@MAX_TOKENS
def main(url: str, file: Path, out: str, samples: int, margin: float, judge: str, max_tokens: int) -> None:
    sampler = Sampler(url, max_tokens=max_tokens)
    prompts = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    pairs, count = Pairs(which="best-worst", margin=margin), 0
    with Output(out) as output:
        for ranking in flame_rank.Reranker(judge).rank_many(problems(sampler, prompts, samples)):
            lines = pairs.lines(ranking)
            output.write(lines)
            count += lines.count(b"\n")
    click.echo(f"{count} pairs of {len(prompts)} prompts", err=True)


if __name__ == "__main__":
    main()
