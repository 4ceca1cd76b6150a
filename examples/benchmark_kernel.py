"""Measures the pairwise-judge kernel against transformers and llama.cpp, all ordered pairs of one problem at a time.

    python examples/benchmark_kernel.py [--rows ROW,ROW] [--json FILE]

The model is a random checkpoint of Qwen2's shape (98 million parameters), written once; prompt and candidates are
random token ids, so no tokeniser takes part. Every row runs in a process of its own, so that its peak memory can be
told; the repeats are interleaved, so that other work on the machine falls on all rows alike.
"""

import importlib.metadata
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import numpy as np

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "use_sliding_window": False,
    "torch_dtype": "float32",
}
D, F, LAYERS, V = (CONFIG[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size"))
N, K = CONFIG["num_attention_heads"], CONFIG["num_key_value_heads"]
H = D // N
CUE = 4  # tokens
VERDICTS = [17, 4711]  # any two ids
AGREE = 1e-3  # nats of log-odds, in float32
REFERENCE = "transformers"
SEPARATE = "kernel-separate"  # another computation: its log-odds are not compared
FLOAT32_ON_CPU = "peak-numpy", "llama.cpp", "llama.cpp-prefix"

# Name -> (what it is, how many leading pieces of a path are encoded once for all the paths that share them).
ROWS = {
    "peak-numpy": ("matrix product, numpy", None),
    "peak-torch": ("matrix product, PyTorch", None),
    "peak-jax": ("matrix product, JAX", None),
    "kernel": ("this kernel", 2),
    "kernel-plain": ("this kernel, nothing shared", 0),
    SEPARATE: ("this kernel, separate form", 1),
    "transformers": ("transformers, batched", 0),
    "transformers-prompt": ("transformers, prompt's cache kept", 1),
    "llama.cpp": ("llama.cpp", 0),
    "llama.cpp-prefix": ("llama.cpp, common prefix kept", 2),
}


def write_checkpoint(folder: Path) -> None:
    """Writes config.json and model.safetensors into `folder`, unless they are there."""
    from safetensors.numpy import save_file

    if (folder / "config.json").exists():
        if json.loads((folder / "config.json").read_text()) != CONFIG:
            raise click.ClickException(f"{folder} holds another checkpoint; give another --folder")
        return
    click.echo(f"writing a random checkpoint to {folder}", err=True)
    shapes = {"model.embed_tokens.weight": (V, D), "model.norm.weight": (D,)}
    for i in range(LAYERS):
        layer = f"model.layers.{i}"
        for name, out in {"q": N * H, "k": K * H, "v": K * H}.items():
            shapes |= {f"{layer}.self_attn.{name}_proj.weight": (out, D), f"{layer}.self_attn.{name}_proj.bias": (out,)}
        shapes |= {f"{layer}.self_attn.o_proj.weight": (D, N * H), f"{layer}.mlp.down_proj.weight": (D, F)}
        shapes |= {f"{layer}.mlp.{name}_proj.weight": (F, D) for name in ("gate", "up")}
        shapes |= {f"{layer}.{name}_layernorm.weight": (D,) for name in ("input", "post_attention")}
    rng = np.random.default_rng(0)
    tensors = {
        key: np.ones(shape, np.float32) if "norm" in key else rng.standard_normal(shape, np.float32) * np.float32(0.02)
        for key, shape in shapes.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.part", metadata={"format": "pt"})
    (folder / "model.part").rename(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2))


def make_paths(candidates: int, prompt: int, candidate: int) -> list[list[list[int]]]:
    """Returns (prompt, first candidate, second candidate + cue) in token ids for every ordered pair."""
    rng = np.random.default_rng(0)
    head, tail = rng.integers(0, V, prompt).tolist(), rng.integers(0, V, CUE).tolist()
    texts = rng.integers(0, V, (candidates, candidate)).tolist()
    return [[head, first, second + tail] for first, second in itertools.permutations(texts, 2)]


def count(paths: list[list[list[int]]], shared: int, *, last_layer: bool) -> tuple[int, int]:
    """Returns the tokens that must be encoded and their floating-point operations, no padding counted.

    Two for each parameter of a layer's matrices, 4 N H for each key that a query sees, two for each of the head's
    parameters where a verdict is read. Without `last_layer` that one gives keys and values of every token, and the
    rest only where a verdict is read.
    """
    spans: dict[tuple[tuple[int, ...], ...], tuple[int, int]] = {}
    for number, path in enumerate(paths):
        ends = list(itertools.accumulate(map(len, path)))
        for depth in range(shared):
            spans[tuple(map(tuple, path[: depth + 1]))] = (ends[depth - 1] if depth else 0, ends[depth])
        spans[(number,),] = (ends[shared - 1] if shared else 0, ends[-1])
    tokens = sum(stop - start for start, stop in spans.values())
    keys = sum((start + 1 + stop) * (stop - start) // 2 for start, stop in spans.values())
    kv, others = 2 * D * K * H, 2 * D * N * H + 3 * D * F
    layer = 2 * (kv + others) * tokens + 4 * N * H * keys
    verdicts = sum(2 * others + 4 * N * H * sum(map(len, path)) for path in paths)
    last = layer if last_layer else 2 * kv * tokens + verdicts
    return tokens, (LAYERS - 1) * layer + last + 2 * D * V * len(paths)


class Process:
    """One row's process, loaded and warmed up; `answers` holds what it said, `problem` why it says no more."""

    def __init__(self, name: str, spec_file: Path, spec: dict[str, Any], python: str):
        self.name, self.problem = name, ""
        self.answers: list[dict[str, Any]] = []
        environment = {**os.environ, "JAX_PLATFORMS": spec["device"], "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        environment["JAX_TRACEBACK_FILTERING"] = "off"  # so that an error's last line is its message
        if spec["dtype"] == "float32":  # as PyTorch does; without effect on a CPU
            environment["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"
        if name == "peak-numpy":  # settings that suit another machine would slow it
            environment = {key: value for key, value in environment.items() if not key.startswith("OPENBLAS_")}
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (as long as the process)
        self.process = subprocess.Popen(
            [python, Path(__file__).with_name("benchmark_rows.py"), name, spec_file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment,
            text=True,
        )
        self.ready = self.read()

    def read(self) -> dict[str, Any]:
        """Waits for the next answer; an empty one when there is none, and then `problem` says why."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {}
        if not line:
            self.errors.seek(0)
            messages = self.errors.read().strip().splitlines() or ["no message"]
            self.problem = f"ended with status {self.process.wait()}: {messages[-1]}"
        elif "missing" in answer:
            self.problem, answer = answer["missing"], {}
        return answer

    def ask(self) -> None:
        assert self.process.stdin
        with suppress(BrokenPipeError):  # it has ended: `read` tells why
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        if answer := self.read():
            self.answers.append(answer)

    def close(self) -> None:
        assert self.process.stdin
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


def summarise(process: Process, paths: list[list[list[int]]]) -> dict[str, Any]:
    """Returns what is reported of a row of judgements, times as the median of its runs."""
    times = [answer["seconds"] for answer in process.answers]
    last, seconds = process.answers[-1], statistics.median(times)
    read = (
        list({tuple(a): [head, [*a, *b[-CUE:]]] for head, a, b in paths}.values())
        if process.name == SEPARATE
        else paths
    )
    tokens, flops = count(read, ROWS[process.name][1] or 0, last_layer=not process.name.startswith("kernel"))
    log_probs = np.array(last.pop("log_probs"))
    return {
        **process.ready,
        "seconds": times,
        "pairs_per_second": len(paths) / seconds,
        "tokens": tokens,
        "tokens_per_second": tokens / seconds,
        "gflop": flops / 1e9,
        "gflops": flops / 1e9 / seconds,
        "peak_bytes": last["peak_bytes"],
        "bytes_over_weights": last["peak_bytes"] - process.ready["loaded_bytes"],
        "log_odds": (log_probs[:, 0] - log_probs[:, 1]).tolist(),
    }


def compare(report: dict[str, Any]) -> None:
    """Adds to each row its share of the fastest product, its speed and its distance from the reference's."""
    rows, peaks = report["rows"], [rate for shapes in report["peaks"].values() for rate in shapes.values()]
    for row in rows.values():
        if peaks:
            row["of_peak"] = row["gflops"] / max(peaks)
        if REFERENCE in rows:
            row["ratio"] = row["pairs_per_second"] / rows[REFERENCE]["pairs_per_second"]
        if REFERENCE in rows and row is not rows.get(SEPARATE):
            row["differs"] = float(np.abs(np.subtract(row["log_odds"], rows[REFERENCE]["log_odds"])).max())


def versions() -> dict[str, str]:
    installed = {}
    for name in ("jax", "flax", "numpy", "torch", "transformers"):
        with suppress(importlib.metadata.PackageNotFoundError):
            installed[name] = importlib.metadata.version(name)
    return installed


WIDTHS = 7, 15, 8, 6, 7, 6, 8, 8, 9, 8


def render(report: dict[str, Any]) -> str:
    """Returns the report as a table; the share of the peak is that of the fastest matrix product of all."""
    lines = []
    for name, shapes in report["peaks"].items():
        rates = ", ".join(f"{rate:.0f} GFLOP/s ({shape})" for shape, rate in shapes.items())
        lines.append(f"{ROWS[name][0]:<33} {rates}")
    heads = "s", "min-max", "pairs/s", "ratio", "tokens", "tok/s", "GFLOP/s", "of peak", "memory", "differs"
    lines += ["", f"{'':<33} " + " ".join(f"{head:>{w}}" for head, w in zip(heads, WIDTHS, strict=True))]
    for name, row in report["rows"].items():
        times = row["seconds"]
        cells = (
            f"{statistics.median(times):.2f}",
            f"{min(times):.2f}-{max(times):.2f}",
            f"{row['pairs_per_second']:.3f}",
            f"{row['ratio']:.2f}x" if "ratio" in row else "",
            f"{row['tokens']}",
            f"{row['tokens_per_second']:.0f}",
            f"{row['gflops']:.0f}",
            f"{row['of_peak']:.0%}" if "of_peak" in row else "",
            f"{row['bytes_over_weights'] / 2**20:.0f} MiB",
            f"{row['differs']:.1e}" if "differs" in row else "",
        )
        lines.append(f"{ROWS[name][0]:<33} " + " ".join(f"{c:>{w}}" for c, w in zip(cells, WIDTHS, strict=True)))
        if row.get("padding_tokens"):
            lines.append(f"{'':<33} beside {row['padding_tokens']} tokens of padding, {row['programs']} programs")
    lines += [f"{ROWS[name][0]:<33} missing: {reason}" for name, reason in report["missing"].items()]
    for row in list(report["rows"].values())[:1]:
        lines.append(f"{'':<33} the pairs' log-odds spread over {np.ptp(row['log_odds']):.2g} nats")
    return "\n".join(lines)


@click.command()
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), help="Of the checkpoint. [default: temporary]"
)
@click.option("--rows", default=",".join(ROWS), show_default=True, help="What to measure.")
@click.option("--candidates", type=click.IntRange(min=2), default=8, show_default=True)
@click.option("--prompt-tokens", type=click.IntRange(min=1), default=600, show_default=True)
@click.option("--candidate-tokens", type=click.IntRange(min=1), default=300, show_default=True)
@click.option("--repeats", type=click.IntRange(min=1), default=2, show_default=True, help="Runs after the warm-up.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), help="[default: float32 on cpu, bfloat16 on cuda]")
@click.option("--llama-python", default=sys.executable, help="An interpreter that has llama-cpp-python and gguf.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the report here too.")
def main(
    folder: Path | None,
    rows: str,
    candidates: int,
    prompt_tokens: int,
    candidate_tokens: int,
    repeats: int,
    device: str,
    dtype: str | None,
    llama_python: str,
    json_file: Path | None,
) -> None:
    """Measures the kernel, transformers and llama.cpp on every ordered pair of one problem's candidates."""
    names = rows.split(",")
    if unknown := [name for name in names if name not in ROWS]:
        raise click.BadParameter(f"{unknown[0]!r}; known are {', '.join(ROWS)}", param_hint="--rows")
    dtype = dtype or ("float32" if device == "cpu" else "bfloat16")
    folder = folder or Path(tempfile.gettempdir()) / "flame_rank_benchmark"
    write_checkpoint(folder)
    paths = make_paths(candidates, prompt_tokens, candidate_tokens)
    spec = {
        "folder": str(folder),
        "device": device,
        "dtype": dtype,
        "max_length": max(2048, sum(map(len, paths[0]))),
        "verdicts": VERDICTS,
        "cue": paths[0][2][-CUE:],
        "batches": [4, 8] if device == "cpu" else [8, 32],  # transformers takes the faster one
        "mlp": [D, F],
        "paths": paths,
    }
    processes, missing = [], {}
    with tempfile.TemporaryDirectory() as scratch:
        spec_file = Path(scratch) / "spec.json"
        spec_file.write_text(json.dumps(spec))
        for name in names:
            if name in FLOAT32_ON_CPU and (device, dtype) != ("cpu", "float32"):
                missing[name] = "measured on cpu in float32 only"
                continue
            click.echo(f"{name}: loading and warming up", err=True)
            python = llama_python if name.startswith("llama.cpp") else sys.executable
            try:
                processes.append(Process(name, spec_file, spec, python))
            except OSError as error:
                missing[name] = f"{python}: {error.strerror}"
    for turn, process in itertools.product(range(repeats), processes):
        if not process.problem:
            click.echo(f"{process.name}: run {turn + 1} of {repeats}", err=True)
            process.ask()
    for process in processes:
        process.close()
    missing |= {process.name: process.problem for process in processes if process.problem}
    done = {process.name: process for process in processes if not process.problem}

    report: dict[str, Any] = {
        "machine": {"cpus": os.cpu_count(), "device": device, "dtype": dtype, "versions": versions()},
        "model": CONFIG,
        "problem": {"candidates": candidates, "pairs": len(paths), "tokens": [len(piece) for piece in paths[0]]},
        "peaks": {
            name: {shape: max(a["gflops"][shape] for a in p.answers) for shape in p.answers[0]["gflops"]}
            for name, p in done.items()
            if name.startswith("peak-")
        },
        "rows": {name: summarise(p, paths) for name, p in done.items() if not name.startswith("peak-")},
        "missing": missing,
    }
    compare(report)
    click.echo(render(report))
    if json_file:
        json_file.write_text(json.dumps(report, indent=2) + "\n")
    if dtype == "float32" and any(row.get("differs", 0) > AGREE for row in report["rows"].values()):
        raise click.ClickException(f"the rows' log-odds differ by more than {AGREE}")


if __name__ == "__main__":
    main()
