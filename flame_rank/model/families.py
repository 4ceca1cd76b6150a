"""The supported families of models, and what judge and trainer need to know about each. Only this module distinguishes
families; an entry in `FAMILIES` adds one."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import jax
import numpy.typing as npt
from flax import nnx
from jax.sharding import Mesh

from flame_rank.model import config, sharding, t5, t5_config, weights
from flame_rank.model.checkpoint_files import open_weights, read_config
from flame_rank.model.choices import Attend
from flame_rank.model.config import DecoderConfig
from flame_rank.model.decoder import Decoder
from flame_rank.model.kernel import Kernel
from flame_rank.model.t5_config import T5Config
from flame_rank.model.t5_kernel import T5Kernel
from flame_rank.model.text import TextTokenizer

Params = Any  # nnx.State, whose type parameters change from release to release

_SCORE_HEAD = "ForSequenceClassification"
# Tensors that files of some decoders hold beside those that count.
_IGNORED = ("*.rotary_emb.inv_freq", "*.masked_bias", "*.attn.bias", "*.attention.bias")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How the model of a checkpoint is computed.

    Attributes:
      stated: config.json, corrected if the weights contradict it, so that a saved checkpoint is read in the same way.
      config: the configuration of the module.
      module: the class of the model.
      kernel: the class that scores texts with the module: kernel(module, mesh=, max_length=, max_batch_tokens=, how=).
      head_dim: the dimensions of an attention head; a head is never split between devices.
      positions: the most tokens that the model can read in one row; None for any number.
      ignored: patterns of the names of tensors that the files may have although the module lacks them.
      reads_and_writes: whether an encoder reads the input and a decoder writes the target as separate texts (T5); False
        if a decoder has both in one row.
    """

    stated: Mapping[str, Any]
    config: DecoderConfig | T5Config
    module: Callable[[Any, Any], nnx.Module]
    kernel: "Callable[..., Kernel | T5Kernel]"
    head_dim: int
    positions: int | None
    ignored: tuple[str, ...]
    reads_and_writes: bool = False

    @property
    def family(self) -> str:
        return str(self.stated["model_type"])

    @property
    def vocab_size(self) -> int:
        return self.config.vocab_size

    def input_end(self, tokenizer: TextTokenizer) -> tuple[int, ...]:
        """Returns the id that ends an input, if the input is a separate text."""
        return tuple(sorted(tokenizer.eos))[:1] if self.reads_and_writes else ()

    def load(self, files: weights.Weights, mesh: Mesh, dtype: npt.DTypeLike, *, fully: bool = False) -> Any:
        """Reads the weights, each tensor directly onto the devices that compute with it.

        Args:
          dtype: the dtype of the parameters.
          fully: as in `sharding.spec`.

        Returns:
          The module's graph and its parameters, as `nnx.split` returns them.

        Raises:
          OSError, ValueError: as in `weights.fill`.
        """
        graph, params = nnx.split(nnx.eval_shape(lambda: self.module(self.config, _OneKey())))
        places = sharding.shardings(params, mesh, self.head_dim, fully=fully)
        return graph, weights.fill(params, files, dtype=dtype, shardings=places, ignore=self.ignored)


class _OneKey:
    """Replaces `nnx.Rngs` while only shapes are computed: tracing its counter takes seconds for 30 layers."""

    def __init__(self) -> None:
        self._key = jax.random.key(0)

    def params(self) -> jax.Array:
        return self._key


def score_head(stated: Mapping[str, Any]) -> str | None:
    """Returns the class with a score head that a config.json names; None if the model predicts tokens."""
    names = stated.get("architectures")
    return next((str(n) for n in names if str(n).endswith(_SCORE_HEAD)), None) if isinstance(names, list) else None


def read_architecture(checkpoint: Path, *, reward: bool = False) -> Architecture:
    """Returns the architecture of a checkpoint, from its configuration and from the names and shapes of its tensors.

    Args:
      reward: whether a reward model is needed instead of a model that predicts tokens.

    Raises:
      OSError: a file is unreadable.
      ValueError: the family or a computation is not supported.
    """
    stated = read_config(checkpoint)
    family, scores = stated.get("model_type"), score_head(stated)
    if scores is not None:
        _check_reward_model(scores, stated)
    if reward != (scores is not None):
        wanted = f"a reward model ({scores}), but one that writes text" if scores else "not a reward model, but one"
        raise ValueError(f"config.json: it is {wanted} is needed")
    reader = FAMILIES.get(family, _decoder) if isinstance(family, str) else _decoder  # which refuses other families
    return reader(stated, open_weights(checkpoint))


def _decoder(stated: Mapping[str, Any], files: weights.Weights) -> Architecture:
    shape = config.read(stated)
    if score_head(stated):
        shape = replace(shape, score_head=True, tie_word_embeddings=True)
    _check_sizes(shape.num_hidden_layers, shape.vocab_size, "model.embed_tokens.weight", files)
    ignored: tuple[str, ...] = _IGNORED
    own_head = shape.tie_word_embeddings and not shape.score_head and weights.own_head(files)
    if own_head:  # it counts, as in transformers 5
        logging.getLogger("flame_rank").warning(
            "flame-rank: %s: tie_word_embeddings is true, but lm_head.weight is another matrix than the embeddings; it "
            "is used, as transformers does",
            files.folder,
        )
        shape, stated = replace(shape, tie_word_embeddings=False), {**stated, "tie_word_embeddings": False}
    elif shape.tie_word_embeddings:
        ignored = (*_IGNORED, "lm_head.weight")
    return Architecture(
        stated=stated,
        config=shape,
        module=Decoder,
        kernel=Kernel,
        head_dim=shape.head_dim,
        positions=shape.max_position_embeddings,
        ignored=ignored,
    )


def _check_reward_model(scores: str, stated: Mapping[str, Any]) -> None:
    """Refuses a model with a score head that is not a supported reward model."""
    family, labels = stated.get("model_type"), stated.get("id2label")
    if FAMILIES.get(str(family)) is not _decoder:
        raise ValueError(
            f"config.json: {scores} of model_type {family!r} is not supported; reward models may be of the families "
            f"{', '.join(config.DEFAULTS)}; encoders (BERT, RoBERTa, DeBERTa-v3, ModernBERT) are not supported"
        )
    count = stated.get("num_labels") or (len(labels) if isinstance(labels, Mapping) else 2)  # 2 as in transformers
    if count != 1:
        raise ValueError(f"config.json: {scores} has {count} labels; a reward model has 1 (num_labels, id2label)")


def _t5(stated: Mapping[str, Any], files: weights.Weights) -> Architecture:
    shape = T5Config.read(stated, head=t5_config.HEAD in files)
    _check_sizes(shape.num_layers, shape.vocab_size, "shared.weight", files)

    def kernel(module: t5.T5, *, how: Attend | None, **options: Any) -> T5Kernel:
        return T5Kernel(module, **options)  # whose attention has one form

    return Architecture(
        stated=stated,
        config=shape,
        module=t5.T5,
        kernel=kernel,
        head_dim=shape.d_kv,
        positions=None,
        ignored=t5_config.IGNORED_TENSORS,
        reads_and_writes=True,
    )


def _check_sizes(layers: int, vocabulary: int, embeddings: str, files: weights.Weights) -> None:
    """Refuses a wrong number of layers before they are created, and a wrong vocabulary before a tokenizer is limited
    to it."""
    by = files.described_by
    if layers != (stored := weights.layers(files)):
        raise ValueError(f"{files.folder}: {by} states {layers} layers, but the weights have {stored}")
    name = weights.canonical(files).get(embeddings)
    if name is not None and files[name].shape[:1] != (vocabulary,):
        raise ValueError(
            f"{files[name].file}: {name} has shape {files[name].shape}, but {by} states {vocabulary} words"
        )


Reader: TypeAlias = Callable[[Mapping[str, Any], weights.Weights], Architecture]
# By the `model_type` of config.json.
FAMILIES: dict[str, Reader] = {**dict.fromkeys((*config.DEFAULTS, "gemma3"), _decoder), "t5": _t5}
