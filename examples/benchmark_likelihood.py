"""Compares how fast the kernel and batched transformers read candidates with the same weights, in one run.

    pip install -e '.[parity]' && python examples/benchmark_likelihood.py MODEL [--dtype bfloat16]

MODEL is a checkpoint directory or a GGUF file that transformers can read, too. Both compute the log-probability of
every token of each candidate after its prompt; the tokens are random ids. The kernel encodes the prompt once;
transformers reads prompt and candidate as one row each, and computes logits at the candidates' tokens only. Repeats are
interleaved.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np

AGREE = 1e-3  # nats, summed over a candidate, in float32


def of_kernel(
    model: Path, dtype: Literal["float32", "bfloat16"], prompt: list[int], candidates: list[list[int]]
) -> tuple[Callable[[], Any], Any]:
    from flame_rank.model.scorer import ComputeOptions, load_scorer

    kernel = load_scorer(model, ComputeOptions(max_length=2048, dtype=dtype))

    def run() -> list[float]:
        kernel.forget()  # type: ignore[attr-defined]
        paths = [(tuple(prompt),)] * len(candidates)
        return [float(row.sum()) for row in kernel.token_log_probs(paths, [tuple(ids) for ids in candidates])]

    return run, kernel


def of_transformers(model: Path, dtype: str, prompt: list[int], candidates: list[list[int]]) -> Callable[[], Any]:
    import torch
    from transformers import AutoModelForCausalLM

    folder, file = (model.parent, {"gguf_file": model.name}) if model.is_file() else (model, {})
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), **file).eval()
    rows = torch.tensor([prompt + ids for ids in candidates])  # [N, P + L]
    targets = rows[:, len(prompt) :]

    def run() -> list[float]:
        with torch.no_grad():
            logits = network(rows, logits_to_keep=targets.shape[1] + 1).logits[:, :-1].float()  # [N, L, V]
        log_probs = logits.gather(2, targets[:, :, None])[:, :, 0] - logits.logsumexp(2)
        return [float(row) for row in log_probs.sum(1)]

    return run


@click.command()
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option("--candidates", "count", default=8, show_default=True, help="Candidates of the prompt.")
@click.option("--prompt", "asked", default=600, show_default=True, help="Tokens of the prompt.")
@click.option("--length", default=300, show_default=True, help="Tokens of each candidate.")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True)
@click.option("--repeats", default=3, show_default=True, help="Timed runs of each row, after one that compiles.")
def main(model: Path, count: int, asked: int, length: int, dtype: Literal["float32", "bfloat16"], repeats: int) -> None:
    rng = np.random.default_rng(0)
    prompt, *candidates = (rng.integers(100, 40_000, n).tolist() for n in (asked, *[length] * count))
    ours, kernel = of_kernel(model, dtype, prompt, candidates)
    rows = {"this kernel": ours, "transformers, batched": of_transformers(model, dtype, prompt, candidates)}
    sums = {name: run() for name, run in rows.items()}
    tokens = kernel.usage.tokens
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(repeats):
        for name, run in rows.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    apart = np.abs(np.subtract(*sums.values())).max()
    reference = statistics.median(seconds["transformers, batched"])
    for name, taken in seconds.items():
        median = statistics.median(taken)
        click.echo(f"{name:<22} {median:7.2f} s  {reference / median:5.2f}x  [{min(taken):.2f}, {max(taken):.2f}]")
    click.echo(f"tokens encoded: {tokens} and {count * (asked + length)}; sums of {length} tokens agree to {apart:.1e}")
    if dtype == "float32" and apart > AGREE:
        raise SystemExit(f"they differ by more than {AGREE}")


if __name__ == "__main__":
    main()
