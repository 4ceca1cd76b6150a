"""The configuration of a T5, read from a Hugging Face `config.json` of either dialect."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

# Tensors that some files hold and no computation reads: copies of shared.weight, and a bias that the first releases
# stored for the attention to the encoder, which has none.
IGNORED_TENSORS = (
    "encoder.embed_tokens.weight",
    "decoder.embed_tokens.weight",
    "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
)
HEAD = "lm_head.weight"
ACTIVATIONS = {"relu": "relu", "gated-gelu": "gelu_new"}  # feed_forward_proj -> dense_act_fn, which newer files add


@dataclass(frozen=True, kw_only=True)
class T5Config:
    """The keys of a T5 `config.json` on which the computation depends, with the defaults of its class.

    Attributes:
      d_kv: the size of a head; num_heads * d_kv need not be d_model.
      num_decoder_layers: by default as many as the encoder has.
      feed_forward_proj: "relu" (T5 1.0) or "gated-gelu" (T5 1.1, FLAN-T5), which is the tanh form of gelu.
      tie_word_embeddings: whether the head is the embedding; otherwise there is a tensor `HEAD`.
      scale_decoder_outputs: whether the head's input is multiplied by d_model^-0.5. The wrong value raises no error: a
        tied head's logits are far too sharp without it, and an untied head's far too flat with it.
      decoder_start_token_id: the first token that the decoder reads; by default the padding.
    """

    vocab_size: int = 32128
    d_model: int = 512
    d_kv: int = 64
    d_ff: int = 2048
    num_layers: int = 6
    num_decoder_layers: int = 6
    num_heads: int = 8
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    layer_norm_epsilon: float = 1e-6
    feed_forward_proj: str = "relu"
    tie_word_embeddings: bool = True
    scale_decoder_outputs: bool = True
    pad_token_id: int = 0
    eos_token_id: int | tuple[int, ...] = 1
    decoder_start_token_id: int = 0

    # Other keys of a T5 config.json: required as given here, or without effect on the logits.
    REQUIRED = {"model_type": "t5", "is_encoder_decoder": True, "is_decoder": False}  # noqa: RUF012
    IGNORED = frozenset(
        {
            "_name_or_path",
            "architectures",
            "bos_token_id",
            "classifier_dropout",
            "dropout_rate",
            "dtype",
            "early_stopping",
            "gradient_checkpointing",
            "initializer_factor",
            "length_penalty",
            "max_length",
            "min_length",
            "n_positions",
            "no_repeat_ngram_size",
            "num_beams",
            "output_past",
            "task_specific_params",
            "tokenizer_class",
            "torch_dtype",
            "transformers_version",
            "use_cache",
        }
    )

    @classmethod
    def read(cls, config: Mapping[str, Any], *, head: bool | None = None) -> Self:
        """Reads a parsed `config.json` of either dialect.

        Args:
          config: transformers 4 states `tie_word_embeddings` false for a separate head, which is not scaled;
            transformers 5 states `tie_word_embeddings` true for every T5, and `scale_decoder_outputs` beside it.
          head: whether the weights hold `HEAD`. As in transformers 5, the weights decide whether the head is tied, and
            the configuration only whether it is scaled. None = not known: an unscaled head is taken to be untied.

        Raises:
          ValueError: the file needs a computation that model/t5.py does not have, or has an unknown key.
        """
        feed_forward = config.get("feed_forward_proj", cls.feed_forward_proj)
        if not isinstance(feed_forward, str) or feed_forward not in ACTIVATIONS:
            raise ValueError(
                f"config.json: feed_forward_proj = {feed_forward!r} is not supported by this T5, only "
                f"{', '.join(ACTIVATIONS)}"
            )
        known = {k: config[k] for k in cls.__dataclass_fields__ if config.get(k) is not None}
        known.setdefault("num_decoder_layers", known.get("num_layers", cls.num_layers))
        known.setdefault("decoder_start_token_id", known.get("pad_token_id", cls.pad_token_id))
        known.setdefault("scale_decoder_outputs", known.get("tie_word_embeddings", True))
        _check(vars(cls()) | known)
        if head is None:
            head = not (known["scale_decoder_outputs"] and known.get("tie_word_embeddings", True))
        known["tie_word_embeddings"] = not head
        if isinstance(known.get("eos_token_id"), list):
            known["eos_token_id"] = tuple(known["eos_token_id"])
        required = cls.REQUIRED | {
            "dense_act_fn": ACTIVATIONS[feed_forward],
            "is_gated_act": feed_forward.startswith("gated-"),
        }
        for key in config.keys() - cls.__dataclass_fields__.keys() - cls.IGNORED:
            if key not in required or config[key] != required[key]:
                only = f"only {required[key]!r}" if key in required else "leave it out if it changes nothing"
                raise ValueError(f"config.json: {key} = {config[key]!r} is not supported by this T5, {only}")
        return cls(**known)

    def to_dict(self) -> dict[str, Any]:
        """Returns a `config.json` that both dialects read in the same way, if the head is either tied and scaled or
        neither."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        fields["tie_word_embeddings"] = self.tie_word_embeddings and self.scale_decoder_outputs
        if isinstance(self.eos_token_id, tuple):
            fields["eos_token_id"] = list(self.eos_token_id)
        return {"architectures": ["T5ForConditionalGeneration"], **self.REQUIRED, **fields}


_POSITIVE = (
    *("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_decoder_layers", "num_heads"),
    *("relative_attention_num_buckets", "relative_attention_max_distance"),
)


def _check(stated: Mapping[str, Any]) -> None:
    """Raises ValueError for a value that makes the computation impossible."""

    def whole(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    for key in _POSITIVE:
        if not whole(stated[key]) or stated[key] < 1:
            raise ValueError(f"config.json: {key} = {stated[key]!r}, not a positive whole number")
    for key in ("tie_word_embeddings", "scale_decoder_outputs"):
        if not isinstance(stated[key], bool):
            raise ValueError(f"config.json: {key} = {stated[key]!r}, neither true nor false")
    for key in ("pad_token_id", "eos_token_id", "decoder_start_token_id"):
        several = key == "eos_token_id" and isinstance(stated[key], list)
        if not all(whole(i) and 0 <= i < stated["vocab_size"] for i in (stated[key] if several else [stated[key]])):
            raise ValueError(f"config.json: {key} = {stated[key]!r}, not in a vocabulary of {stated['vocab_size']}")
    epsilon, count = stated["layer_norm_epsilon"], stated["relative_attention_num_buckets"]
    if not isinstance(epsilon, float) or not 0 < epsilon < 1:
        raise ValueError(f"config.json: layer_norm_epsilon = {epsilon!r}, not between 0 and 1")
    if count < 4 or stated["relative_attention_max_distance"] <= count // 2:
        furthest = stated["relative_attention_max_distance"]
        raise ValueError(f"config.json: {count} relative_attention_num_buckets do not cover a distance of {furthest}")
