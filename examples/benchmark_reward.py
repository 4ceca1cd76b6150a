"""Compares how many problems a second the kernel and batched transformers rate with one reward model, in one run.

    pip install -e '.[parity]' && python examples/benchmark_reward.py [--candidates N] [--repeats R]

The model is a random Llama with a score head of 98 M numbers, written once and read by both; the tokens are random ids.
The kernel encodes the prompt once and each candidate once; transformers reads prompt and candidate as one row each.
Repeats are interleaved. Beside the seconds stand those of the processor, which count on a busy machine.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np

AGREE = 1e-3  # of a reward
SHAPE = {"vocab_size": 16_384, "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12}
HEADS = {"num_attention_heads": 12, "num_key_value_heads": 12, "max_position_embeddings": 2048}


def write(folder: Path) -> Any:
    """Writes the model; returns it as transformers has it."""
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(0)
    config = LlamaConfig(**SHAPE, **HEADS, num_labels=1, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    model = LlamaForSequenceClassification(config).eval()
    model.save_pretrained(folder)
    return model


def of_kernel(folder: Path, prompt: list[int], candidates: list[list[int]]) -> tuple[Callable[[], Any], Any]:
    from flame_rank.model.families import read_architecture
    from flame_rank.model.scorer import ComputeOptions, load_scorer

    kernel: Any = load_scorer(folder, ComputeOptions(max_length=2048), read_architecture(folder, reward=True))

    def run() -> Any:
        kernel.forget()
        return kernel.rewards([(tuple(prompt), tuple(ids)) for ids in candidates])

    return run, kernel


def of_transformers(model: Any, prompt: list[int], candidates: list[list[int]]) -> Callable[[], Any]:
    import torch

    rows = torch.tensor([prompt + ids for ids in candidates])  # [N, P + L]

    def run() -> Any:
        with torch.no_grad():
            return model(rows).logits[:, 0].numpy()

    return run


@click.command()
@click.option("--candidates", "count", default=16, show_default=True, help="Candidates of the prompt.")
@click.option("--prompt", "asked", default=600, show_default=True, help="Tokens of the prompt.")
@click.option("--length", default=300, show_default=True, help="Tokens of each candidate.")
@click.option("--repeats", default=3, show_default=True, help="Timed runs of each, after one that compiles.")
def main(count: int, asked: int, length: int, repeats: int) -> None:
    """Time both on one problem."""
    rng = np.random.default_rng(0)
    prompt, *candidates = (rng.integers(3, SHAPE["vocab_size"], n).tolist() for n in (asked, *[length] * count))
    with tempfile.TemporaryDirectory() as folder:
        model = write(Path(folder))
        ours, kernel = of_kernel(Path(folder), prompt, candidates)
    theirs = of_transformers(model, prompt, candidates)
    apart = float(np.abs(ours() - theirs()).max())
    print(f"{kernel.parameters / 1e6:.0f} M numbers; rewards differ by {apart:.1e} at most", flush=True)
    assert apart < AGREE, "the two do not agree"
    start = kernel.usage.tokens
    wall: dict[str, list[float]] = {"kernel": [], "transformers": []}
    processor: dict[str, list[float]] = {"kernel": [], "transformers": []}
    for _ in range(repeats):
        for name, run in (("kernel", ours), ("transformers", theirs)):
            before = time.perf_counter(), time.process_time()
            run()
            wall[name].append(time.perf_counter() - before[0])
            processor[name].append(time.process_time() - before[1])
    tokens = (kernel.usage.tokens - start) / repeats
    print(f"the kernel encodes {tokens / (asked + count * length):.2f} times the tokens of prompt and candidates")
    for name in wall:
        print(f"{name}: {median(wall[name]):.2f} s a problem, {median(processor[name]):.2f} s of the processor")
    ratios = [median(of["transformers"]) / median(of["kernel"]) for of in (wall, processor)]
    print(f"{ratios[0]:.2f} times the problems a second, {ratios[1]:.2f} by the processor's time")


if __name__ == "__main__":
    main()
