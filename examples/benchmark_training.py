"""Measures a training step of `flame-train run` against a plain PyTorch loop: the same model, tokens and optimiser.

    python examples/benchmark_training.py [--size 100m] [--batch 4] [--tokens 512] [--repeats 3] [--json FILE]

The model is a random Llama as make_checkpoint.py has it, without its tokenizer; rows are random ids of random lengths,
which begin with the same ids, half as many as a row has on average, as examples of a task begin with its instructions.
Every row of the table runs in a process of its own; the repeats are interleaved, so that other work on the machine
falls on all rows alike. "PyTorch" computes logits at every place, as a loop over `model(**batch, labels=labels)` does;
"PyTorch, targets only" computes them where this trainer does.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

TARGET = 4  # tokens of a row that count in the loss
RATE = 1e-4
ROWS = {
    "peak": "matrix product, numpy",
    "flame-train": "flame-train run",
    "flame-train-dropout": "flame-train run, dropout 0.05",
    "flame-train-share": "flame-train run --share 4",
    "flame-train-lora": "flame-train run, LoRA",
    "flame-train-lora-bf16": "flame-train run, LoRA, bfloat16",
    "pytorch": "PyTorch",
    "pytorch-targets": "PyTorch, targets only",
}
USUAL = ["peak", "flame-train-dropout", "pytorch", "pytorch-targets"]  # all at once do not fit 24 GiB
LORA = {"lora": 16, "freeze": 4}  # of twelve layers in the usual size
Spec = dict[str, Any]
# What a row's process yields: something once it is ready, then one value for each timed step.
Row = Iterator[float]


def lengths(spec: Spec) -> list[int]:
    return np.random.default_rng(0).integers(spec["tokens"] // 2, spec["tokens"] + 1, spec["batch"]).tolist()  # type: ignore[no-any-return]


def texts(spec: Spec) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    instructions = rng.integers(3, spec["vocabulary"], 3 * spec["tokens"] // 8)
    own = (rng.integers(3, spec["vocabulary"], length - len(instructions)) for length in lengths(spec))
    return [np.concatenate([instructions, ids]).astype(np.int32) for ids in own]


def flame_train(spec: Spec, **settings: Any) -> Row:
    from trainer.finetune.malloc import keep_freed_memory

    keep_freed_memory()  # as the command does
    from flame_rank.model import sharding
    from trainer.finetune import base_model
    from trainer.finetune.recipe import Recipe
    from trainer.finetune.tokenized_rows import Row as Example
    from trainer.finetune.training import Training

    mesh = sharding.mesh(1)
    model = base_model.load(Path(spec["folder"]), mesh, template="plain")
    training = Training(model, Recipe(batch=spec["batch"], rate=RATE, **settings), mesh)
    rows = [Example(text[:-TARGET], text[-TARGET:]) for text in texts(spec)]
    while True:
        yield float(training.step(rows).loss)


def pytorch(spec: Spec, *, targets_only: bool) -> Row:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(os.cpu_count() or 1)
    model = AutoModelForCausalLM.from_pretrained(spec["folder"], dtype=torch.float32, attn_implementation="sdpa")
    model.train()
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    rows = texts(spec)
    longest = max(map(len, rows))
    tokens = torch.zeros((len(rows), longest), dtype=torch.long)
    labels = torch.full_like(tokens, -100)
    for k, row in enumerate(rows):
        tokens[k, : len(row)] = torch.from_numpy(row)
        labels[k, len(row) - TARGET : len(row)] = torch.from_numpy(row[-TARGET:])
    mask = (torch.arange(longest)[None] < torch.tensor([len(row) for row in rows])[:, None]).long()
    while True:
        if targets_only:
            hidden = model.model(input_ids=tokens, attention_mask=mask).last_hidden_state[:, :-1]
            here = labels[:, 1:] != -100
            loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[here]), labels[:, 1:][here])
        else:
            loss = model(input_ids=tokens, attention_mask=mask, labels=labels).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        yield float(loss.detach())


def peak(spec: Spec) -> Row:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((2048, 2048), np.float32) for _ in range(2))
    while True:
        began = time.perf_counter()
        for _ in range(20):
            a @ b
        yield 20 * 2 * 2048**3 / (time.perf_counter() - began)


def row(name: str, spec: Spec) -> Row:
    if name == "peak":
        return peak(spec)
    if name.startswith("pytorch"):
        return pytorch(spec, targets_only=name.endswith("targets"))
    if "lora" in name:
        return flame_train(spec, **LORA, dtype="bfloat16" if name.endswith("bf16") else "float32")
    if name.endswith("share"):
        return flame_train(spec, share=4)
    return flame_train(spec, dropout=0.05 if name.endswith("dropout") else 0.0)


def serve(name: str, spec: Spec) -> None:
    """Two steps to warm up, then one for each line on stdin: its value and its seconds as a line of JSON."""
    steps = row(name, spec)
    first = next(steps)
    next(steps)
    print(json.dumps({"first": first}), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        value = next(steps)
        print(json.dumps({"value": value, "seconds": time.perf_counter() - began}), flush=True)


def operations(spec: Spec, config: dict[str, Any]) -> int:
    """Floating-point operations of a step on real tokens: six for each parameter of a layer's matrices and each token,
    12 N H for each key that a query sees, six for each of the head's parameters and each target token."""
    D, F, layers = (config[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    N, K, H = (config[key] for key in ("num_attention_heads", "num_key_value_heads", "head_dim"))
    matrices = 2 * D * N * H + 2 * D * K * H + 3 * D * F
    tokens, keys = sum(lengths(spec)), sum(n * (n + 1) // 2 for n in lengths(spec))
    head: int = 6 * D * config["vocab_size"] * TARGET * spec["batch"]
    return int(layers * (6 * matrices * tokens + 12 * N * H * keys)) + head


@click.command(help=__doc__)
@click.option("--size", default="100m", show_default=True)
@click.option("--batch", default=4, show_default=True)
@click.option("--tokens", default=512, show_default=True, help="Of the longest row; the shortest has half of them.")
@click.option("--repeats", default=3, show_default=True)
@click.option("--rows", default=",".join(USUAL), show_default=True, help=f"Of {','.join(ROWS)}.")
@click.option("--json", "record", type=click.Path(path_type=Path))
@click.option("--row", "serving", hidden=True)
@click.option("--spec", "given", hidden=True)
def main(
    size: str, batch: int, tokens: int, repeats: int, rows: str, record: Path | None, serving: str | None, given: str
) -> None:
    if serving:
        serve(serving, json.loads(given))
        return
    from make_checkpoint import stated, write

    with tempfile.TemporaryDirectory() as parent:
        folder = f"{parent}/model"
        config = stated("llama", size)
        write("llama", size, Path(folder), ["no text takes part"])
        spec = {"folder": folder, "batch": batch, "tokens": tokens, "vocabulary": config["vocab_size"]}
        processes: dict[str, subprocess.Popen[str]] = {}
        times: dict[str, list[float]] = {}
        values: dict[str, list[float]] = {}
        for name in rows.split(","):
            click.echo(f"warming up {ROWS[name]}", err=True)
            command = [sys.executable, __file__, "--row", name, "--spec", json.dumps(spec)]
            processes[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            values[name] = [_answer(processes[name])["first"]]
            times[name] = []
        for _ in range(repeats):
            for name, process in processes.items():
                assert process.stdin
                print(file=process.stdin, flush=True)
                answer = _answer(process)
                times[name].append(answer["seconds"])
                values[name].append(answer["value"])
        for process in processes.values():
            assert process.stdin
            process.stdin.close()
            process.wait()
    best = max(values.pop("peak", [0.0])[1:], default=0.0)
    times.pop("peak", None)
    flops = operations(spec, config)
    real = sum(lengths(spec))
    click.echo(f"{real} real tokens a step, {flops / 1e12:.2f} TFLOP; matrix product {best / 1e9:.0f} GFLOP/s")
    reference = statistics.median(times["pytorch"]) if "pytorch" in times else None
    for name, taken in times.items():
        seconds = statistics.median(taken)
        ratio = f"{reference / seconds:5.2f}x" if reference else ""
        share = f"{100 * flops / seconds / best:4.0f} % of the peak" if best else ""
        speed = f"{seconds:7.2f} s{real / seconds:8.0f} tokens/s"
        click.echo(f"{ROWS[name]:<32}{speed}  {ratio}  {share}  loss {values[name][0]:.4f}")
    if record:
        record.write_text(json.dumps({"spec": spec, "flops": flops, "peak": best, "seconds": times}, indent=1) + "\n")


def _answer(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        raise click.ClickException("a row's process ended; what it said stands above")
    answer: dict[str, Any] = json.loads(line)
    return answer


if __name__ == "__main__":
    main()
