"""From a checkpoint to a judge: a Hugging Face directory or a GGUF file of a family that flame_rank/model computes, or
a low-rank adapter for one of these."""

import hashlib
import json
import logging
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import msgspec
from flax import nnx
from jax.sharding import Mesh

from flame_rank.errors import UserError
from flame_rank.io import json_file
from flame_rank.judges.default.pool import ModelFile
from flame_rank.judges.found_model import base_of, located
from flame_rank.judges.language_model import LocalJudge, Scorer
from flame_rank.judges.likelihood import NOTHING, REFUSAL, Reader
from flame_rank.judges.options import Dtype, OnLong, Template
from flame_rank.model import config, forks, sharding, t5, t5_config, text, weight_files, weights
from flame_rank.model.adapter import AdaptedWeights
from flame_rank.model.adapter_config import is_adapter
from flame_rank.model.chat import chat_template
from flame_rank.model.decoder import Attend, Decoder
from flame_rank.model.gguf import config as gguf_config
from flame_rank.model.gguf import weights as gguf_weights
from flame_rank.model.gguf.file import is_gguf
from flame_rank.model.kernel import Kernel
from flame_rank.model.t5_kernel import T5Kernel
from flame_rank.prompts import format as prompts
from flame_rank.prompts.format import Format

MAX_LENGTH = 2048  # tokens, the paper's input length (section 3.5)
# Tensors that files of some families hold beside those that count.
IGNORED = ("*.rotary_emb.inv_freq", "*.masked_bias", "*.attn.bias", "*.attention.bias")


def load(
    folder: Path,
    *,
    criteria: str | None = None,
    max_length: int | None = None,
    on_long: OnLong = "cut",
    dtype: Dtype | None = None,
    max_batch_tokens: int | None = None,
    template: Template | None = None,
    model_parallel: int | None = None,
    attention: Attend | None = None,
) -> LocalJudge:
    """Reads a checkpoint directory, a GGUF file or an adapter's folder; arguments as in `flame_rank.load_judge`.

    Raises:
      UserError: a file is missing, not whole or does not fit the others, or asks for a computation not known here.
    """
    options = _Options(max_length, dtype, max_batch_tokens, model_parallel, attention)
    try:
        kernel, form, family = _open(folder, template, options)
        instructions = prompts.with_criteria(criteria) if criteria else prompts.PAIRWISE
        stated = [
            asdict(instructions),
            (*(form.chat or ()), form.lead) if form.lead else form.chat,
            kernel.max_length,
            on_long,
            kernel.dtype,
        ]
        return LocalJudge(
            kernel,
            form,
            name=f"{family}:{identity(folder, stated)}",
            instructions=instructions,
            on_long=on_long,
        )
    except (OSError, ValueError) as error:
        raise UserError(f"the judge in {folder} cannot be read: {error}") from error


def load_reader(
    folder: Path,
    *,
    max_length: int | None = None,
    dtype: Dtype | None = None,
    max_batch_tokens: int | None = None,
    template: Template | None = None,
    model_parallel: int | None = None,
    attention: Attend | None = None,
) -> Reader:
    """Reads a checkpoint as a model that says how likely candidates are; arguments as in `flame_rank.load_judge`.

    Raises:
      UserError: as `load`.
    """
    options = _Options(max_length, dtype, max_batch_tokens, model_parallel, attention)
    try:
        kernel, form, family = _open(folder, template, options)
        stated = [NOTHING, REFUSAL, form.chat, kernel.max_length, kernel.dtype]
        return Reader(kernel, form, name=f"{family}:{identity(folder, stated)}")
    except (OSError, ValueError) as error:
        raise UserError(f"the model in {folder} cannot be read: {error}") from error


class _Options(NamedTuple):
    """How a model is computed: as in `load_scorer`."""

    max_length: int | None
    dtype: Dtype | None
    max_batch_tokens: int | None
    model_parallel: int | None
    attention: Attend | None


def _open(folder: Path, template: Template | None, options: _Options) -> tuple[Scorer, Format, str]:
    """A checkpoint's model, its tokenizer with the chat template, and its family."""
    forks.compute_here()
    model = base_of(folder) if is_adapter(folder) else folder
    words = folder if text.is_here(folder) else model
    stated = read_config(model)
    tokenizer = text.load(words, model)
    chat = None if template == "plain" else chat_template(words)
    if template == "chat" and chat is None:
        places = "tokenizer.chat_template" if is_gguf(words) else "chat_template.jinja or tokenizer_config.json"
        raise ValueError(f"it has no chat template ({places})")
    around, lead = (chat.around(), chat.lead()) if chat else (None, "")
    kernel = load_scorer(folder, **options._asdict())
    tokenizer = text.within(tokenizer, kernel.vocab_size)
    end = tuple(sorted(tokenizer.eos))[:1] if isinstance(kernel, T5Kernel) else ()
    return kernel, Format(tokenizer, chat=around, lead=lead, end=end), stated["model_type"]


def read_config(folder: Path) -> dict[str, Any]:
    """The parsed `config.json` of a checkpoint directory; of a GGUF file, what it would be; of an adapter, its base's.

    Raises:
      OSError: it is missing or unreadable.
      ValueError: it is no JSON object, or no GGUF file that is read here.
    """
    if is_adapter(folder):
        return read_config(base_of(folder))
    if is_gguf(folder):
        return gguf_config.read(folder)
    for file in folder.iterdir() if folder.is_dir() else ():
        if file.exists() and not (file.is_file() or file.is_dir()):  # whose end a reader would wait for
            raise ValueError(f"{file}: no regular file; a model is read from files")
    stated = json_file.read(folder / weights.CONFIG)
    if not isinstance(stated, dict):
        raise ValueError(f"{folder / weights.CONFIG}: not a JSON object")
    return stated


def load_scorer(
    folder: Path,
    *,
    max_length: int | None = None,
    dtype: Dtype | None = None,
    max_batch_tokens: int | None = None,
    model_parallel: int | None = None,
    attention: Attend | None = None,
) -> Scorer:
    """Reads the model of a checkpoint, without its tokenizer; arguments as in `flame_rank.load_judge`.

    Raises:
      OSError: a file is unreadable.
      ValueError: a file is missing, not whole, or asks for a computation not known here.
    """
    stated = read_config(folder)
    files = open_weights(folder)
    on_cpu = jax.default_backend() == "cpu"
    chosen = jnp.dtype(dtype or ("float32" if on_cpu else "bfloat16"))
    if attention == "cudnn" and (jax.default_backend() != "gpu" or chosen != jnp.bfloat16):
        raise ValueError("attention 'cudnn' takes bfloat16 on an NVIDIA GPU")
    mesh = sharding.mesh(model=model_parallel or _split(files, chosen.itemsize))
    if stated.get("model_type") == "t5":
        shape = t5_config.T5Config.read(stated, head=t5_config.HEAD in files)
        _same_depth(shape.num_layers, files)
        model = _filled(lambda rngs: t5.T5(shape, rngs), files, mesh, chosen, shape.d_kv, t5_config.IGNORED_TENSORS)
        return T5Kernel(model, mesh=mesh, max_length=max_length or MAX_LENGTH, max_batch_tokens=max_batch_tokens)
    decoder, ignored = read_decoder(stated, files)
    most = decoder.max_position_embeddings
    if (max_length or 0) > most:
        raise ValueError(
            f"max_length {max_length} is more than the {most} positions that {files.described_by} gives the model"
        )
    return Kernel(
        _filled(lambda rngs: Decoder(decoder, rngs), files, mesh, chosen, decoder.head_dim, ignored),
        mesh=mesh,
        max_length=max_length or min(MAX_LENGTH, most),
        max_batch_tokens=max_batch_tokens,
        how=attention,
    )


def _same_depth(stated: int, files: weights.Weights) -> None:
    """Tells a wrong number of layers before as many are made."""
    if stated != (there := weights.layers(files)):
        raise ValueError(f"{files.folder}: {files.described_by} states {stated} layers, and the weights have {there}")


def read_decoder(stated: dict[str, Any], files: weights.Weights) -> tuple[config.DecoderConfig, tuple[str, ...]]:
    """The configuration of a decoder, and which tensors in its files are none of its own. Where it ties the output
    matrix to the embeddings and the files hold another one, that one counts, as in transformers 5, and it is said.

    Raises:
      OSError, ValueError: as `load_scorer`.
    """
    decoder = config.read(stated)
    _same_depth(len(decoder.windows), files)
    if not decoder.tie_word_embeddings:
        return decoder, IGNORED
    if weights.own_head(files):
        logging.getLogger("flame_rank").warning(
            "flame-rank: %s: tie_word_embeddings is true, but lm_head.weight is another matrix than the embeddings; it "
            "is used, as transformers does",
            files.folder,
        )
        return replace(decoder, tie_word_embeddings=False), IGNORED
    return decoder, (*IGNORED, "lm_head.weight")


def open_weights(folder: Path) -> weights.Weights:
    """The tensors of a checkpoint directory, an adapter on its base, or a GGUF file.

    Raises:
      OSError, ValueError: as `load_scorer`.
    """
    if is_adapter(folder):
        return AdaptedWeights.open(folder, open_weights(base_of(folder)))
    return gguf_weights.GgufWeights.open(folder) if is_gguf(folder) else weight_files.WeightFiles.open(folder)


class _OneKey:
    """Stands for `nnx.Rngs` while only shapes are made: to trace its counter takes seconds for 30 layers."""

    def __init__(self) -> None:
        self._key = jax.random.key(0)

    def params(self) -> jax.Array:
        return self._key


def _filled(make: Any, files: weights.Weights, mesh: Mesh, dtype: Any, head_dim: int, ignored: tuple[str, ...]) -> Any:
    """A model with the weights of the files, each tensor on the devices that compute with it."""
    graph, params = nnx.split(nnx.eval_shape(lambda: make(_OneKey())))
    places = sharding.shardings(params, mesh, head_dim)
    return nnx.merge(graph, weights.fill(params, files, dtype=dtype, shardings=places, ignore=ignored))


def _split(files: weights.Weights, itemsize: int) -> int:
    """Over how many devices the weights are split: as few as leave each half of its memory; powers of two."""
    devices = jax.devices()
    if devices[0].platform == "cpu":
        return 1
    size = sum(math.prod(files[name].shape) for name in _read_here(files)) * itemsize
    room = (devices[0].memory_stats() or {}).get("bytes_limit", 2**34) // 2
    ways = 1
    while size > room * ways and len(devices) % (2 * ways) == 0:
        ways *= 2
    return ways


def _read_here(files: weights.Weights) -> list[str]:
    """The tensors on disk that a text model may read: not those of images, nor tables of integers."""
    return sorted(name for name in weights.canonical(files).values() if files[name].dtype in files.readable)


def named(spec: str | None) -> tuple[ModelFile, Path]:
    """The model that `--model` names with its identity, and where it lies; as `found_model.located`.

    Raises:
      UserError: it is not there, or cannot be read.
    """
    stated, path = located(spec)
    try:
        return msgspec.structs.replace(stated, identity=identity(path)), path
    except (OSError, ValueError) as error:
        raise UserError(f"--model {path}: {error}") from error


def identity(folder: Path, stated: object = None) -> str:
    """Twelve digits over a checkpoint and what else shapes an answer.

    Of the weights: names, dtypes, shapes, and sixteen pieces of 4 KiB of each tensor. A training moves every part of a
    matrix, and to read all of a large model would take minutes.

    Raises:
      OSError, ValueError: the checkpoint cannot be read.
    """
    found = hashlib.sha256()

    def add(*parts: str | bytes) -> None:
        for part in parts:
            data = part.encode() if isinstance(part, str) else part
            found.update(len(data).to_bytes(8, "little") + data)

    add(json.dumps(stated))
    files = open_weights(folder)
    for name, content in files.described():
        add(name, content)
    for name in _read_here(files):
        tensor = files.raw(name)
        add(name, files[name].dtype, str(files[name].shape))
        for part in range(16):
            at = part * max(0, tensor.size - 4096) // 15
            add(tensor[at : at + 4096].tobytes())
    return found.hexdigest()[:12]
