"""The rows of benchmark_kernel.py, each measured in a process of its own.

    PYTHON benchmark_rows.py ROW SPEC.json

Nothing but the standard library and numpy is imported before a row needs it, so the llama.cpp rows run under an
interpreter that has llama-cpp-python and gguf alone.
"""

import copy
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

# What a row's process does. The first value arrives when the weights are loaded, the second after the warm-up, then one
# for each timed run: the verdicts' log-probabilities as "log_probs", or what a row has to say instead of them. "bytes"
# in the first and the later values is the memory held and its peak, where that is not the process's own.
Row = Iterator[dict[str, Any]]
Spec = dict[str, Any]
THREADS = os.cpu_count() or 1


def serve(row: Row, answers: int) -> None:
    """Runs a row: one JSON line to the descriptor `answers` when it is ready, then one for each line on stdin."""

    def answer(**fields: Any) -> None:
        os.write(answers, json.dumps(fields).encode() + b"\n")

    def timed() -> tuple[dict[str, Any], float]:
        start = time.perf_counter()
        return next(row), time.perf_counter() - start

    try:
        loaded = next(row).get("bytes") or resident("VmRSS")
        with suppress(OSError):  # where it is refused, the peak includes that of loading
            Path("/proc/self/clear_refs").write_text("5")
        fields, seconds = timed()
        answer(**fields, warm_up_seconds=seconds, loaded_bytes=loaded)
        for _ in sys.stdin:
            fields, seconds = timed()
            answer(**fields, seconds=seconds, peak_bytes=fields.get("bytes") or resident("VmHWM"))
    except ImportError as error:
        answer(missing=str(error))


def resident(which: str) -> int:
    """Returns this process's resident memory in bytes, "VmRSS" now or "VmHWM" at its peak; 0 where there is no /proc.

    Not `getrusage`: its ru_maxrss starts at the peak of the process that started this one.
    """
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(which):
                return int(line.split()[1]) * 1024
    return 0


def whole(path: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(path))


def kernel_row(spec: Spec, *, share: bool, separate: bool = False) -> Row:
    """The tree of shared prefixes, or with `share` False every path as one piece, or the separate form."""
    from flame_rank.model.scorer import ComputeOptions, load_scorer

    device = jax_device(spec)

    def memory(key: str) -> int | None:  # None on a CPU
        return (device.memory_stats() or {}).get(key)

    kernel: Any = load_scorer(Path(spec["folder"]), ComputeOptions(max_length=spec["max_length"], dtype=spec["dtype"]))
    yield {"bytes": memory("bytes_in_use")}
    paths = [tuple(map(tuple, path)) if share else (tuple(whole(path)),) for path in spec["paths"]]
    if separate:
        apart = [[(tuple(head), (*a, *spec["cue"])), (tuple(head), tuple(b))] for head, a, b in spec["paths"]]
        paths = list(dict.fromkeys(path for pair in apart for path in pair))
        pairs = [[paths.index(path) for path in pair] for pair in apart]

    def score() -> Any:
        log_probs = kernel.log_probs(paths, spec["verdicts"])
        return log_probs[pairs][:, 0] - log_probs[pairs][:, 1] if separate else log_probs

    score()
    padding = kernel.usage.padded - kernel.usage.tokens
    yield {"padding_tokens": padding, "programs": kernel.programs, "batch_tokens": kernel.max_batch_tokens}
    while True:
        kernel.forget()  # or the next run would find its prefixes there
        yield {"log_probs": score().tolist(), "bytes": memory("peak_bytes_in_use")}


def jax_device(spec: Spec) -> Any:
    import jax

    try:
        return jax.devices(spec["device"])[0]
    except (RuntimeError, AssertionError) as error:  # an assertion where JAX_PLATFORMS names a platform without plugin
        raise ImportError(f"JAX finds no {spec['device']} device; pip install 'flame-rank[cuda]'") from error


def transformers_row(spec: Spec, *, keep_prompt: bool) -> Row:
    """Batches of whole pairs; with `keep_prompt` the prompt is encoded once and its key/value cache repeated."""
    try:
        import torch
        from transformers import AutoModelForCausalLM
    except ImportError as error:
        raise ImportError(f"{error}; pip install torch==2.13.0 transformers") from error
    torch.set_num_threads(THREADS)
    device, dtype = spec["device"], getattr(torch, spec["dtype"])
    model = AutoModelForCausalLM.from_pretrained(spec["folder"], dtype=dtype, attn_implementation="sdpa").to(device)
    sum(float(parameter.sum()) for parameter in model.parameters())  # so that mapped weights are in memory
    yield {"bytes": torch.cuda.memory_allocated() if device == "cuda" else None}

    tokens = torch.tensor([whole(path) for path in spec["paths"]], device=device)  # [R, T]
    prompt = len(spec["paths"][0][0]) if keep_prompt else 0

    def run(batch: int, pairs: int | None = None) -> list[list[float]]:
        with torch.inference_mode():
            return encode(batch, pairs)

    def encode(batch: int, pairs: int | None) -> list[list[float]]:
        kept = model(tokens[:1, :prompt], use_cache=True, logits_to_keep=1).past_key_values if prompt else None
        log_probs = []
        for rows in tokens[:pairs, prompt:].split(batch):
            cache = copy.deepcopy(kept)
            if cache is not None:
                cache.batch_repeat_interleave(len(rows))
            logits = model(rows, past_key_values=cache, use_cache=bool(prompt), logits_to_keep=1).logits[:, -1]
            log_probs += logits.double().log_softmax(-1)[:, spec["verdicts"]].tolist()
        return log_probs

    def seconds(batch: int) -> float:
        start = time.perf_counter()
        run(batch, pairs=max(spec["batches"]))
        return time.perf_counter() - start

    run(1, pairs=1)
    best = min(spec["batches"], key=seconds)
    yield {"batch": best, "threads": torch.get_num_threads()}
    while True:
        yield {"log_probs": run(best), "bytes": torch.cuda.max_memory_allocated() if device == "cuda" else None}


def llama_cpp_row(spec: Spec, *, keep_prefix: bool) -> Row:
    """Every path as one sequence, logits of its last token; with `keep_prefix` what it shares with the path before it
    stays in the key/value cache (the paths come sorted by their first candidate)."""
    try:
        import llama_cpp

        gguf_file = write_gguf(Path(spec["folder"]))
    except ImportError as error:
        raise ImportError(f"{error}; pip install llama-cpp-python gguf, or --llama-python PATH") from error
    lengths = {"n_ctx": spec["max_length"], "n_batch": spec["max_length"]}
    threads = {"n_threads": THREADS, "n_threads_batch": THREADS}
    # flash_attn is faster than without it; the size of n_ubatch, left at 512, made no difference above the noise
    model = llama_cpp.Llama(
        str(gguf_file), n_gpu_layers=0, use_mmap=False, flash_attn=True, verbose=False, **lengths, **threads
    )
    yield {}

    def run(paths: list[list[int]]) -> list[list[float]]:
        log_probs: list[list[float]] = []
        cached: list[int] = []
        for tokens in paths:
            same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(cached, tokens, strict=False))
            model.n_tokens = len(list(same)) if keep_prefix else 0
            model.eval(tokens[model.n_tokens :])
            cached = tokens
            logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(model.ctx, -1), (model.n_vocab(),))
            exact = logits.astype(np.float64)
            log_probs.append((exact - np.logaddexp.reduce(exact))[spec["verdicts"]].tolist())
        return log_probs

    paths = [whole(path) for path in spec["paths"]]
    run(paths[:1])
    yield {"version": llama_cpp.__version__, "threads": THREADS}
    while True:
        yield {"log_probs": run(paths)}


def write_gguf(folder: Path) -> Path:
    """Writes the checkpoint in `folder` once more as an f32 GGUF file, without a tokeniser, and returns its path."""
    import gguf
    from gguf.utility import SafetensorsLocal

    path = folder / "model.f32.gguf"
    if path.exists():
        return path
    config = json.loads((folder / "config.json").read_text())
    part = path.with_suffix(".part")
    writer = gguf.GGUFWriter(part, "qwen2")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("none")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config["num_hidden_layers"])
    for key, tensor in SafetensorsLocal(folder / "model.safetensors").tensors.items():
        name = names.get_name(key, try_suffixes=(".weight", ".bias"))
        assert name is not None
        writer.add_tensor(name, tensor.mmap_bytes().view("<f4").reshape(tensor.shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.rename(path)
    return path


def peak_row(spec: Spec, *, library: str) -> Row:
    """A square matrix product and the model's largest; "gflops" by shape, the best of half a second."""
    side = 4096 if spec["device"] == "cpu" else 8192
    yield {}
    products = {shape: product(library, spec, *shape) for shape in ((side, side, side), (2560, *spec["mlp"]))}
    for multiply in products.values():
        multiply()
    yield {}
    while True:
        rates = {}
        for (rows, inner, columns), multiply in products.items():
            times: list[float] = []
            while sum(times) < 0.5:
                start = time.perf_counter()
                multiply()
                times.append(time.perf_counter() - start)
            rates[f"{rows}x{inner} @ {inner}x{columns}"] = 2e-9 * rows * inner * columns / min(times)
        yield {"gflops": rates}


def product(library: str, spec: Spec, rows: int, inner: int, columns: int) -> Callable[[], Any]:
    """Returns a function that multiplies [rows, inner] by [inner, columns] and waits for the result."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((rows, inner), np.float32), rng.standard_normal((inner, columns), np.float32)
    if library == "numpy":
        out = np.empty((rows, columns), np.float32)
        return lambda: np.matmul(a, b, out=out)
    if library == "jax":
        import jax

        jax_device(spec)
        x, y, matmul = (
            jax.numpy.asarray(a, spec["dtype"]),
            jax.numpy.asarray(b, spec["dtype"]),
            jax.jit(jax.numpy.matmul),
        )
        return lambda: matmul(x, y).block_until_ready()
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"{error}; pip install torch==2.13.0") from error
    torch.set_num_threads(THREADS)
    x, y = (torch.tensor(z, device=spec["device"], dtype=getattr(torch, spec["dtype"])) for z in (a, b))
    wait = torch.cuda.synchronize if spec["device"] == "cuda" else lambda: None
    return lambda: (torch.matmul(x, y), wait())


ROWS: dict[str, Callable[[Spec], Row]] = {
    "peak-numpy": partial(peak_row, library="numpy"),
    "peak-torch": partial(peak_row, library="torch"),
    "peak-jax": partial(peak_row, library="jax"),
    "kernel": partial(kernel_row, share=True),
    "kernel-plain": partial(kernel_row, share=False),
    "kernel-separate": partial(kernel_row, share=True, separate=True),
    "transformers": partial(transformers_row, keep_prompt=False),
    "transformers-prompt": partial(transformers_row, keep_prompt=True),
    "llama.cpp": partial(llama_cpp_row, keep_prefix=False),
    "llama.cpp-prefix": partial(llama_cpp_row, keep_prefix=True),
}

if __name__ == "__main__":
    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    serve(ROWS[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text())), answers)
