"""config.json of every family: what may be left out, both dialects, and what is refused."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
from checkpoints import VARIANTS
from hypothesis import given, settings
from hypothesis import strategies as st

from flame_rank.model.config import _ALL, DEFAULTS, IGNORED, DecoderConfig, Rope, read

FULL, SLIDING = "full_attention", "sliding_attention"
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
# What official files state, less what a file may leave out.
OFFICIAL: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "llama 2 7B": ({"model_type": "llama", "rms_norm_eps": 1e-5}, {"num_key_value_heads": 32, "head_dim": 128}),
    "llama 3.1 8B": (
        {
            "model_type": "llama",
            "intermediate_size": 14336,
            "num_key_value_heads": 8,
            "rope_theta": 500000.0,
            "rope_scaling": LLAMA3,
        },
        {"ropes": (Rope(theta=500000.0, factor=8.0, low=1.0, high=4.0, original=8192),) * 32},
    ),
    "smollm2 135M": (
        {
            "model_type": "llama",
            "hidden_size": 576,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "is_llama_config": True,
            "rope_interleaved": False,
            "rope_theta": 100000,
        },
        {"head_dim": 64, "ropes": (Rope(theta=1e5),) * 32},
    ),
    "mistral 7B v0.1": ({"model_type": "mistral"}, {"windows": (4096,) * 32, "num_key_value_heads": 8}),
    "qwen2 7B": (
        {"model_type": "qwen2", "hidden_size": 3584, "num_attention_heads": 28, "num_key_value_heads": 4},
        {"head_dim": 128, "windows": (None,) * 32, "qkv_bias": True, "o_bias": False},
    ),
    "qwen2.5 0.5B": (
        {"model_type": "qwen2", "num_hidden_layers": 24, "sliding_window": 32768, "use_mrope": False},
        {"windows": (None,) * 24},
    ),
    "qwen3 0.6B": (
        {"model_type": "qwen3", "hidden_size": 1024, "num_attention_heads": 16, "num_key_value_heads": 8},
        {"head_dim": 128, "qk_norm": True, "qkv_bias": False},
    ),
    "gemma 7B": (
        {"model_type": "gemma", "hidden_act": "gelu"},
        {"head_dim": 256, "tie_word_embeddings": True, "gelu": True, "query_scale": 256**-0.5},
    ),
    "gemma 2 2B": (
        {"model_type": "gemma2"},
        {"attention_cap": 50.0, "logit_cap": 30.0, "windows": (4096, None) * 13, "sandwich": True},
    ),
    "gemma 2 9B": (
        {"model_type": "gemma2", "num_hidden_layers": 42, "sliding_window": 4096, "sliding_window_size": 4096},
        {"windows": (4096, None) * 21},
    ),
    "gemma 3 1B": (
        {
            "model_type": "gemma3_text",
            "attn_logit_softcapping": None,
            "cache_implementation": "hybrid",
            "final_logit_softcapping": None,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "rope_local_base_freq": 10000,
            "rope_scaling": None,
            "rope_theta": 1000000,
            "sliding_window": 512,
            "sliding_window_pattern": 6,
        },
        {
            "windows": tuple(None if (i + 1) % 6 == 0 else 512 for i in range(26)),
            "ropes": tuple(Rope(theta=1e6) if (i + 1) % 6 == 0 else Rope(theta=1e4) for i in range(26)),
        },
    ),
    "gemma 3 4B": (
        {
            "model_type": "gemma3",
            "vision_config": {"hidden_size": 1152},
            "mm_tokens_per_image": 256,
            "text_config": {
                "model_type": "gemma3_text",
                "hidden_size": 2560,
                "intermediate_size": 10240,
                "num_hidden_layers": 34,
                "sliding_window": 1024,
                "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            },
        },
        {
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "logit_cap": 0.0,
            "windows": tuple(None if (i + 1) % 6 == 0 else 1024 for i in range(34)),
            "ropes": tuple(Rope(theta=1e6, factor=8.0) if (i + 1) % 6 == 0 else Rope(theta=1e4) for i in range(34)),
        },
    ),
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_what_is_left_out_is_the_familys_own(name: str) -> None:
    stated, expected = OFFICIAL[name]
    config = read(stated)
    assert {key: getattr(config, key) for key in expected} == expected


# The same model as transformers 4 wrote it and as 5 does.
DIALECTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"model_type": "llama", "rope_theta": 5e5, "rope_scaling": LLAMA3, "torch_dtype": "bfloat16"},
        {"model_type": "llama", "rope_parameters": {**LLAMA3, "rope_theta": 5e5}, "dtype": "bfloat16"},
    ),
    (
        {"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 2.0}},
        {"model_type": "llama", "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
    ),
    (
        {"model_type": "mistral", "rope_theta": 1e6, "sliding_window": None},
        {
            "model_type": "mistral",
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
            "sliding_window": None,
        },
    ),
    (
        {"model_type": "qwen2", "num_hidden_layers": 3, "use_sliding_window": True, "max_window_layers": 1},
        {
            "model_type": "qwen2",
            "num_hidden_layers": 3,
            "use_sliding_window": True,
            "layer_types": [FULL, SLIDING, SLIDING],
        },
    ),
    (
        {"model_type": "qwen3", "num_hidden_layers": 2},
        {"model_type": "qwen3", "num_hidden_layers": 2, "layer_types": [FULL, FULL], "sliding_window": None},
    ),
    (
        {"model_type": "gemma", "hidden_act": "gelu", "hidden_activation": None},
        {"model_type": "gemma", "hidden_act": "gelu_pytorch_tanh", "rope_parameters": {"rope_theta": 1e4}},
    ),
    (
        {"model_type": "gemma2", "num_hidden_layers": 2},
        {"model_type": "gemma2", "num_hidden_layers": 2, "layer_types": [SLIDING, FULL]},
    ),
    (
        {
            "model_type": "gemma3_text",
            "num_hidden_layers": 2,
            "sliding_window_pattern": 2,
            "rope_theta": 5e5,
            "rope_local_base_freq": 1e3,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        },
        {
            "model_type": "gemma3_text",
            "num_hidden_layers": 2,
            "layer_types": [SLIDING, FULL],
            "rope_parameters": {
                FULL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 5e5},
                SLIDING: {"rope_type": "default", "rope_theta": 1e3},
            },
        },
    ),
]


@pytest.mark.parametrize(
    ("older", "newer"), DIALECTS, ids=[f"{i}-{o['model_type']}" for i, (o, _) in enumerate(DIALECTS)]
)
def test_both_dialects_say_the_same(older: dict[str, Any], newer: dict[str, Any]) -> None:
    assert read(older) == read(newer)


SMALL = {"model_type": "llama", "num_hidden_layers": 2}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model_type": "mamba"}, "model_type"),
    ({}, "model_type"),
    ({"model_type": ["llama"]}, "model_type"),
    ({"model_type": "gemma3"}, "text_config"),
    ({**SMALL, "some_new_key": 1}, "some_new_key"),
    ({**SMALL, "sliding_window": 16}, "sliding_window"),  # which Llama does not have
    ({**SMALL, "quantization_config": {"quant_method": "gptq"}}, "quantization_config"),
    ({**SMALL, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "yarn"),
    ({**SMALL, "rope_scaling": {"type": "dynamic", "factor": 4.0}}, "dynamic"),
    ({**SMALL, "rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}}, "longrope"),
    ({**SMALL, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "llama3"),
    ({**SMALL, "rope_scaling": {"type": "linear", "factor": 0.0}}, "factor"),
    ({**SMALL, "rope_scaling": {"type": "linear", "factor": "2"}}, "factor"),
    ({**SMALL, "rope_scaling": "linear"}, "rope_scaling"),
    ({**SMALL, "rope_theta": -1.0}, "rope_theta"),
    ({**SMALL, "rope_theta": float("nan")}, "rope_theta"),
    ({**SMALL, "rms_norm_eps": None}, "rms_norm_eps"),
    ({**SMALL, "hidden_size": "4096"}, "hidden_size"),
    ({**SMALL, "hidden_size": True}, "hidden_size"),
    ({**SMALL, "num_hidden_layers": -2}, "num_hidden_layers"),
    ({**SMALL, "num_attention_heads": 2.0}, "num_attention_heads"),
    ({**SMALL, "num_key_value_heads": 5}, "num_key_value_heads"),
    ({**SMALL, "tie_word_embeddings": "false"}, "tie_word_embeddings"),
    ({**SMALL, "attention_bias": 1}, "attention_bias"),
    ({**SMALL, "hidden_act": "relu"}, "hidden_act"),
    ({**SMALL, "pretraining_tp": 2}, "pretraining_tp"),
    ({**SMALL, "layer_types": [SLIDING, SLIDING]}, "layer_types"),
    ({"model_type": "gemma2", "num_hidden_layers": 3, "layer_types": [FULL]}, "layer_types"),
    ({"model_type": "gemma2", "num_hidden_layers": 1, "layer_types": ["chunked_attention"]}, "layer_types"),
    ({"model_type": "gemma2", "num_hidden_layers": 1, "layer_types": FULL}, "layer_types"),
    ({"model_type": "gemma2", "hidden_activation": "gelu_new"}, "hidden_activation"),
    ({"model_type": "gemma2", "final_logit_softcapping": "30"}, "final_logit_softcapping"),
    ({**SMALL, "head_dim": 7}, "head"),
    ({**SMALL, "rope_scaling": {**LLAMA3, "high_freq_factor": 1.0}}, "high_freq_factor"),
    (
        {**SMALL, "rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": LLAMA3},
        "rope_parameters and rope_scaling",
    ),
    ({"model_type": "qwen2", "use_mrope": True}, "use_mrope"),
    ({"model_type": "gemma2", "sliding_window_size": 8}, "sliding_window_size"),
    # One for all layers, where each kind has its own.
    ({"model_type": "gemma3_text", "rope_parameters": {"rope_type": "linear", "factor": 8.0}}, "rope_parameters"),
    ({"model_type": "gemma3", "text_config": {}, "sliding_window": 8}, "sliding_window"),
    ({"model_type": "gemma3", "text_config": {"tie_word_embeddings": True}, "tie_word_embeddings": False}, "tie_word"),
    ({"model_type": "gemma3_text", "attn_logit_softcapping": 50.0}, "attn_logit_softcapping"),
    ({"model_type": "gemma3_text", "use_bidirectional_attention": True}, "use_bidirectional_attention"),
]


@pytest.mark.parametrize(("config", "key"), REFUSED, ids=[f"{i}-{key}" for i, (_, key) in enumerate(REFUSED)])
def test_is_refused_in_one_line_that_names_it(config: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=key) as refusal:
        read(config)
    assert "\n" not in str(refusal.value) and str(refusal.value).startswith("config.json: ")


WRONG: dict[type, list[Any]] = {
    bool: ["true", 1, [], {}],
    int: ["4", True, [4], {}, -1],
    float: ["4", True, [4.0], {}, -1.0, float("nan"), float("inf"), 10**400],
}


@pytest.mark.parametrize("family", DEFAULTS)
def test_a_value_of_the_wrong_type_is_refused(family: str) -> None:
    for key, default in {**_ALL, **DEFAULTS[family]}.items():
        for value in WRONG.get(type(default), []):
            with pytest.raises(ValueError, match=f"^config.json: {key} = ") as refusal:
                read({"model_type": family, key: value})
            assert "\n" not in str(refusal.value)


KEYS = [(family, key) for family, known in DEFAULTS.items() for key in {**_ALL, **known}]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from([FULL, SLIDING]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["rope_type", "rope_theta", "factor", FULL, SLIDING]) | st.text(max_size=3), inner
        )
    ),
    max_leaves=5,
)


@given(where=st.sampled_from(KEYS), value=JSON)
@settings(deadline=None, max_examples=600)
def test_a_value_of_any_type_is_read_or_refused(where: tuple[str, str], value: Any) -> None:
    family, key = where
    try:
        # A few layers: num_hidden_layers = 10**9 is a valid number, and a tuple as long.
        config = read(
            {"model_type": family, "num_hidden_layers": 3, **({} if key == "num_hidden_layers" else {key: value})}
        )
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(config, DecoderConfig)
        hash(config)  # a static argument of jit


@pytest.mark.live
@pytest.mark.parametrize("family", DEFAULTS)
def test_the_defaults_are_those_of_transformers(family: str) -> None:
    auto = pytest.importorskip("transformers", reason="the live comparison needs transformers").AutoConfig
    theirs: Mapping[str, Any] = auto.for_model(family).to_dict()
    accepted = {*_ALL, *DEFAULTS[family], *IGNORED}
    assert read({"model_type": family}) == read({key: value for key, value in theirs.items() if key in accepted})


@pytest.mark.live
@pytest.mark.parametrize("name", VARIANTS)
def test_what_transformers_makes_of_a_file_is_read_alike(name: str) -> None:
    auto = pytest.importorskip("transformers", reason="the live comparison needs transformers").AutoConfig
    stated = VARIANTS[name]
    theirs = auto.for_model(**deepcopy(stated)).to_dict()  # which fills in what is nested
    if stated["model_type"] == "gemma3":
        theirs = theirs["text_config"]
    known = {*_ALL, *DEFAULTS[theirs["model_type"]], *IGNORED}
    assert read(stated) == read({key: value for key, value in theirs.items() if key in known})
