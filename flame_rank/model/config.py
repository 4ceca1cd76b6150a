"""The configuration of a decoder, read from a Hugging Face `config.json` of any family that model/decoder.py computes.

A file may omit each key that equals its family's default, and may be in the dialect of transformers 4 or 5
(`rope_parameters`, `layer_types`, `dtype`). An unknown key is refused, since it could change the result.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Config = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Rope:
    """The rotary position embedding of a layer.

    Attributes:
      theta: base of the wavelengths.
      factor: the factor by which wavelengths are stretched: all of them, or only the long ones if `low` and `high` are
        set.
      low, high, original: as in Llama 3.1, waves longer than original / low are stretched, those shorter than
        original / high are not, and those between in proportion; 0 = stretch all.
    """

    theta: float
    factor: float = 1.0
    low: float = 0.0
    high: float = 0.0
    original: int = 0


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """The settings on which a decoder's computation depends.

    Attributes:
      windows: for each layer the number of positions that a token sees, including its own; None = all before it.
      ropes: the position embedding of each layer.
      query_scale: the factor of the queries.
      embedding_scale: the factor of the embeddings, rounded to their dtype before use (Gemma).
      from_zero: whether norms scale by 1 + weight (Gemma).
      sandwich: whether there are also norms after attention and MLP (Gemma 2, 3).
      gelu: whether the MLP's gate is gelu in its tanh form; otherwise it is silu.
      attention_cap, logit_cap: soft caps; 0 = none.
      score_head: whether the last token has a score (a reward model) instead of logits of the next token.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    tie_word_embeddings: bool
    max_position_embeddings: int
    windows: tuple[int | None, ...]
    ropes: tuple[Rope, ...]
    query_scale: float
    embedding_scale: float = 1.0
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    from_zero: bool = False
    sandwich: bool = False
    gelu: bool = False
    attention_cap: float = 0.0
    logit_cap: float = 0.0
    score_head: bool = False

    @property
    def num_hidden_layers(self) -> int:
        return len(self.windows)

    @property
    def kinds(self) -> tuple[tuple[int | None, Rope], ...]:
        """The distinct kinds of layers: the window and the position embedding of each."""
        return tuple(dict.fromkeys(zip(self.windows, self.ropes, strict=True)))


_QWEN = {
    "vocab_size": 151936,
    "hidden_size": 4096,
    "intermediate_size": 22016,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32768,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
    "use_mrope": False,  # Qwen2.5's files state it
}
_GEMMA = {
    "hidden_act": "gelu_pytorch_tanh",
    "max_position_embeddings": 8192,
    "head_dim": 256,
    "tie_word_embeddings": True,
    "use_bidirectional_attention": False,
    "attention_bias": False,
}
_GEMMA2 = _GEMMA | {
    "vocab_size": 256000,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "sliding_window_size": None,  # the same once more in Gemma 2's first files
    "final_logit_softcapping": 30.0,
    "attn_logit_softcapping": 50.0,
}

# For each model_type the keys that are handled, with the values that a file need not state. Every family also has those
# of _ALL. They are the defaults of the classes in transformers, against which the official files are written.
DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 2048,
        "attention_bias": False,
        "mlp_bias": False,
        "pretraining_tp": 1,
        "rope_interleaved": False,  # SmolLM2's files state it
    },
    "mistral": {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "sliding_window": 4096,
    },
    "qwen2": _QWEN,
    "qwen3": _QWEN | {"head_dim": 128, "attention_bias": False},
    "gemma": _GEMMA
    | {
        "vocab_size": 256000,
        "hidden_size": 3072,
        "intermediate_size": 24576,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "hidden_activation": None,
    },
    "gemma2": _GEMMA2,
    "gemma3_text": _GEMMA2
    | {
        "vocab_size": 262208,
        "max_position_embeddings": 131072,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
        "sliding_window_pattern": 6,
        "_sliding_window_pattern": None,
        "final_logit_softcapping": None,
        "attn_logit_softcapping": None,
    },
}
_ALL = {
    "num_key_value_heads": None,
    "head_dim": None,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "rope_theta": 10_000.0,
    "rope_scaling": None,
    "rope_parameters": None,
    "layer_types": None,
}
RESPONSES = "flame_rank_responses"  # in which form a judge was trained: it changes what is read, not the model
# Keys without effect on the logits of a trained model.
IGNORED = frozenset(
    {
        RESPONSES,
        *("model_type", "architectures", "_name_or_path", "transformers_version", "torch_dtype", "dtype"),
        *("bos_token_id", "eos_token_id", "pad_token_id", "use_cache", "cache_implementation", "initializer_range"),
        *("attention_dropout", "hidden_dropout", "is_decoder", "is_encoder_decoder", "add_cross_attention"),
        *("return_dict", "output_attentions", "output_hidden_states", "chunk_size_feed_forward", "problem_type"),
        *("id2label", "label2id", "num_labels", "unsloth_fixed", "unsloth_version", "is_llama_config"),
        *("_attn_implementation", "_attn_implementation_autoset"),
        # About generating, from the time before that had a file of its own.
        *("max_length", "min_length", "do_sample", "temperature", "top_k", "top_p", "typical_p"),
        *("repetition_penalty", "num_beams", "num_return_sequences"),
        *("tokenizer_class", "transformers.js_config", "_flash_attn_2_enabled", "_model_name_or_path", "unk_token_id"),
        *("sep_token_id", "decoder_start_token_id", "prefix", "task_specific_params", "finetuning_task"),
    }
)
_OFF: Config = {"torchscript": False, "pruned_heads": {}, "tie_encoder_decoder": False, "use_bfloat16": False}
_OF_IMAGES = frozenset(
    {"text_config", "vision_config", "mm_tokens_per_image", "boi_token_index", "eoi_token_index", "image_token_index"}
)


def read(config: Config) -> DecoderConfig:
    """Reads a parsed `config.json`.

    Raises:
      ValueError: model/decoder.py does not support its family, a key or a value.
    """
    if config.get("model_type") == "gemma3":
        config = _of_text(config)
    family = config.get("model_type")
    if not isinstance(family, str) or family not in DEFAULTS:
        raise ValueError(f"config.json: model_type {family!r} is not supported, only {', '.join(DEFAULTS)} and t5")
    known = _ALL | DEFAULTS[family]
    for key in config:
        off = config[key] is None or (key in _OFF and config[key] == _OFF[key])
        if key not in known and key not in IGNORED and not off:
            only = f"only null or {_OFF[key]!r}" if key in _OFF else "only null"
            raise ValueError(f"config.json: {key} = {config[key]!r} is not supported for {family}, {only}")
    stated = known | {key: value for key, value in config.items() if key in known}
    _check(family, known, stated)
    gemma = family.startswith("gemma")
    heads = stated["num_attention_heads"]
    head_dim = stated["head_dim"] or stated["hidden_size"] // heads
    biased = bool(stated.get("attention_bias"))
    kinds = _kinds(family, stated)
    ropes = {kind: _rope(stated, kind) for kind in {*kinds}}
    return DecoderConfig(
        vocab_size=stated["vocab_size"],
        hidden_size=stated["hidden_size"],
        intermediate_size=stated["intermediate_size"],
        num_attention_heads=heads,
        num_key_value_heads=stated["num_key_value_heads"] or heads,
        head_dim=head_dim,
        rms_norm_eps=stated["rms_norm_eps"],
        tie_word_embeddings=bool(stated["tie_word_embeddings"]),
        max_position_embeddings=stated["max_position_embeddings"],
        windows=tuple(stated["sliding_window"] if kind == SLIDING else None for kind in kinds),
        ropes=tuple(ropes[kind] for kind in kinds),
        query_scale=(stated.get("query_pre_attn_scalar") or head_dim) ** -0.5,
        embedding_scale=math.sqrt(stated["hidden_size"]) if gemma else 1.0,
        qkv_bias=biased or family == "qwen2",
        o_bias=biased,
        mlp_bias=bool(stated.get("mlp_bias")),
        qk_norm=family in ("qwen3", "gemma3_text"),
        from_zero=gemma,
        sandwich=family in ("gemma2", "gemma3_text"),
        gelu=gemma,
        attention_cap=stated.get("attn_logit_softcapping") or 0.0,
        logit_cap=stated.get("final_logit_softcapping") or 0.0,
    )


def _of_text(config: Config) -> Config:
    """Returns the text model's configuration from that of a Gemma 3 with vision."""
    inner = config.get("text_config")
    if not isinstance(inner, Mapping):
        raise ValueError("config.json: model_type gemma3 without text_config")
    tied = {"tie_word_embeddings": config["tie_word_embeddings"]} if "tie_word_embeddings" in config else {}
    inner = {**tied, **inner, "model_type": "gemma3_text"}
    for key, value in config.items():
        if key not in IGNORED | _OF_IMAGES and inner.get(key) != value:
            raise ValueError(
                f"config.json: {key} = {value!r} of gemma3 is not supported, unless text_config says the same"
            )
    return inner


FULL, SLIDING = "full_attention", "sliding_attention"
_CAPS = ("attn_logit_softcapping", "final_logit_softcapping")
# Keys that may be null: as if the key were missing, or the feature off.
_MAY_BE_NULL = frozenset(
    {
        *("num_key_value_heads", "head_dim", "sliding_window", "sliding_window_size", "_sliding_window_pattern"),
        *_CAPS,
    }
)
# Keys of which only the default is computed here.
_FIXED = ("pretraining_tp", "rope_interleaved", "use_mrope", "use_bidirectional_attention")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**63


def _check(family: str, known: Config, stated: Config) -> None:
    """Raises ValueError for a value of another type than its default, or for one that needs another computation."""
    for key, value in stated.items():
        default = known[key]
        if value is None and key in {*_MAY_BE_NULL, *_FIXED}:
            continue
        if key in _FIXED:
            if value != default or type(value) is not type(default):
                raise ValueError(f"config.json: {key} = {value!r} is not supported, only {default}")
        elif key in ("query_pre_attn_scalar", *_CAPS) or isinstance(default, float):
            if not _is_number(value):
                raise ValueError(f"config.json: {key} = {value!r}, not a positive number")
        elif isinstance(default, bool):
            if not isinstance(value, bool):
                raise ValueError(f"config.json: {key} = {value!r}, neither true nor false")
        elif isinstance(default, int) or key in _MAY_BE_NULL:
            least = 0 if key == "max_window_layers" else 1
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**31:
                raise ValueError(f"config.json: {key} = {value!r}, not a positive whole number")
    heads = stated["num_attention_heads"]
    if heads % (stated["num_key_value_heads"] or heads):
        raise ValueError("config.json: num_attention_heads is not a multiple of num_key_value_heads")
    size = stated["head_dim"] or stated["hidden_size"] // heads
    if size % 2 or not size:
        raise ValueError(f"config.json: a head has {size} dimensions, not an even number")
    # "gelu" stands in Gemma's first files, and meant the tanh form there too.
    wanted = ("gelu_pytorch_tanh", "gelu") if family.startswith("gemma") else ("silu",)
    for key in ("hidden_act", "hidden_activation"):
        if stated.get(key) is not None and stated[key] not in wanted:
            raise ValueError(f"config.json: {key} = {stated[key]!r} is not supported for {family}, only {wanted[0]}")
    if stated.get("sliding_window_size") not in (None, stated.get("sliding_window")):
        raise ValueError("config.json: sliding_window and sliding_window_size are not the same")
    if family == "gemma3_text" and stated["attn_logit_softcapping"] is not None:  # which transformers ignores
        raise ValueError("config.json: attn_logit_softcapping is not supported for gemma3_text, only null")


def _kinds(family: str, stated: Config) -> list[str]:
    """Returns for each layer whether a token sees all positions before it or a window."""
    layers = range(stated["num_hidden_layers"])
    window = stated.get("sliding_window")
    if family.startswith("qwen") and not stated["use_sliding_window"]:
        window = None
    given = stated["layer_types"]
    if given is not None:
        kinds = list(given) if isinstance(given, list | tuple) else []
        if len(kinds) != len(layers) or not all(kind in (FULL, SLIDING) for kind in kinds):
            raise ValueError(f"config.json: layer_types {given!r} does not name {len(layers)} {FULL} or {SLIDING}")
        if SLIDING in kinds and window is None:
            raise ValueError(f"config.json: layer_types names {SLIDING}, but no sliding_window is in use")
        return kinds
    if window is None:
        return [FULL for _ in layers]
    if family == "mistral":
        return [SLIDING for _ in layers]
    if family.startswith("qwen"):
        return [SLIDING if i >= stated["max_window_layers"] else FULL for i in layers]
    every = 2 if family == "gemma2" else stated["_sliding_window_pattern"] or stated["sliding_window_pattern"]
    return [SLIDING if (i + 1) % every else FULL for i in layers]


def _rope(stated: Config, kind: str) -> Rope:
    """Returns the position embedding of a kind of layer."""
    of_kind = "rope_local_base_freq" in stated  # Gemma 3: sliding layers have their own base and are not stretched
    local = of_kind and kind == SLIDING
    theta = stated["rope_local_base_freq"] if local else stated["rope_theta"]
    older, newer = stated["rope_scaling"], stated["rope_parameters"]
    for key, value in (("rope_scaling", older), ("rope_parameters", newer)):
        if value is not None and not isinstance(value, Mapping):
            raise ValueError(f"config.json: {key} = {value!r}, not an object")
    if of_kind and newer is not None:
        inner = newer.get(kind) or {}
        if newer.keys() - {FULL, SLIDING} or not isinstance(inner, Mapping):
            raise ValueError(f"config.json: rope_parameters = {newer!r}, not an object for {FULL} and for {SLIDING}")
        newer = inner
    if local:
        older = None
    rope = _parsed(newer or older or {}, theta)
    if newer and older and rope != _parsed(older, rope.theta):
        raise ValueError("config.json: rope_parameters and rope_scaling are not the same")
    return rope


_ROPES: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}


def _parsed(stated: Config, theta: float) -> Rope:
    given = dict(stated)
    theta = given.pop("rope_theta", theta)
    old = given.pop("type", None)
    form = given.pop("rope_type", old) or "default"
    if given.pop("partial_rotary_factor", 1.0) != 1.0:
        raise ValueError("config.json: partial_rotary_factor is not supported, only 1")
    if not isinstance(form, str) or form not in _ROPES:
        raise ValueError(f"config.json: rope_type {form!r} is not supported, only {', '.join(_ROPES)}")
    if {*given} != {*_ROPES[form]}:
        raise ValueError(f"config.json: rope_type {form!r} takes {[*_ROPES[form]]}, but is given {[*given]}")
    for key, value in {"rope_theta": theta, **given}.items():
        if not _is_number(value):
            raise ValueError(f"config.json: {key} = {value!r} of the rope, not a positive number")
    rope = Rope(
        theta=float(theta),
        factor=float(given.get("factor", 1.0)),
        low=float(given.get("low_freq_factor", 0.0)),
        high=float(given.get("high_freq_factor", 0.0)),
        original=int(given.get("original_max_position_embeddings", 0)),
    )
    if rope.low and rope.high <= rope.low:
        raise ValueError("config.json: high_freq_factor is not more than low_freq_factor")
    return rope
