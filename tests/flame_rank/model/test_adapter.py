"""A folder of PEFT as a judge: the adapter merged into its base, and what is said of one that does not fit."""

import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf_files
import numpy as np
import pytest
from checkpoints import VARIANTS, tensors, write_checkpoint
from click.testing import CliRunner
from huggingface_hub import constants
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from tokenizers_tiny import CHATML, write_byte_bpe

from flame_rank import Problem, UserError
from flame_rank.cli.group import cli
from flame_rank.judges import checkpoint
from flame_rank.model.adapter import AdaptedWeights
from flame_rank.model.adapter_config import is_adapter
from flame_rank.model.checkpoint_files import base_of
from flame_rank.model.gguf.weights import GgufWeights
from flame_rank.model.scorer import load_scorer
from flame_rank.model.weight_files import WeightFiles
from flame_rank.model.weights import canonical

RANK = 4
FILE, CONFIG = "adapter_model.safetensors", "adapter_config.json"
TARGETS = ("q_proj", "v_proj", "down_proj", ".q", ".wo")
PROBLEM = Problem(prompt="What is the sum?", candidates=["first item", "return 42"])
Tensors = dict[str, Any]


def modules(names: Any) -> list[str]:
    return [name.removesuffix(".weight") for name in names if name.removesuffix(".weight").endswith(TARGETS)]


def write_adapter(
    folder: Path,
    base: Path | str,
    weights: Mapping[str, Any],
    rank: Callable[[str], int] = lambda module: RANK,
    **more: Any,
) -> Tensors:
    """A folder as PEFT saves it, with random matrices for some of the weights; returns them."""
    rng = np.random.default_rng(0)
    config = {"peft_type": "LORA", "base_model_name_or_path": str(base), "r": RANK, "lora_alpha": 6, "bias": "none"}
    config |= {"target_modules": sorted({name.rpartition(".")[2] for name in modules(weights)}), "lora_dropout": 0.1}
    found: Tensors = {}
    for module in modules(weights):
        out, into = weights[f"{module}.weight"].shape
        found[f"base_model.model.{module}.lora_A.weight"] = rng.normal(size=(rank(module), into)).astype(np.float32)
        found[f"base_model.model.{module}.lora_B.weight"] = rng.normal(size=(out, rank(module))).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(config | more))
    save_file(found, folder / FILE)
    return found


def merged(
    weights: Mapping[str, Any], adapter: Tensors, scale: Callable[[str], float] = lambda module: 6 / RANK
) -> Tensors:
    found = dict(weights)
    for module in modules(weights):
        a, b = (adapter[f"base_model.model.{module}.lora_{side}.weight"].astype(np.float64) for side in "AB")
        found[f"{module}.weight"] = (found[f"{module}.weight"] + scale(module) * (b @ a)).astype(np.float32)
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`base`, `adapter` and what it comes to, `merged`; the same base as `base.gguf`."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "base").mkdir()
    size = write_byte_bpe(folder / "base", template=CHATML)
    config = {**VARIANTS["llama2"], "vocab_size": size, "num_hidden_layers": 1}
    write_checkpoint(folder / "base", config)
    shutil.copytree(folder / "base", folder / "merged")
    adapter = write_adapter(folder / "adapter", "../base", tensors(config))
    save_file(merged(tensors(config), adapter), folder / "merged" / "model.safetensors")
    entries = gguf_files.parameters(config) | gguf_files.byte_bpe(folder / "base", "gpt-2")
    gguf_files.write(folder / "base.gguf", "llama", entries, gguf_files.converted(config, tensors(config)))
    return folder


@pytest.mark.parametrize("name", ["llama_biases", "qwen2", "gemma2", "t5"])
def test_reads_what_merging_gives(name: str, tmp_path: Path) -> None:
    t5 = {"model_type": "t5", "vocab_size": 97, "d_model": 32, "d_ff": 48, "d_kv": 8, "num_layers": 1, "num_heads": 2}
    config = t5 if name == "t5" else VARIANTS[name]
    write_checkpoint(tmp_path / "base", config)
    base = WeightFiles.open(tmp_path / "base")
    adapter = write_adapter(tmp_path / "adapter", "base", base)
    found = AdaptedWeights.open(tmp_path / "adapter", base)
    expected = merged({key: base.read(key) for key in base}, adapter)
    assert len(adapter) >= 6 and found.keys() == base.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found.read(key), value, atol=2e-5, err_msg=key)
        if value.ndim == 2:
            part = (slice(3, 9), slice(2, 20))
            np.testing.assert_array_equal(found.read(key, part), found.read(key)[part])


def test_names_of_other_bases(tmp_path: Path) -> None:
    """A base without a prefix, or with vision beside the text, whose adapters are left out as it is."""
    whole: dict[str, np.ndarray] = {
        "layers.0.mlp.down_proj.weight": np.ones((3, 5), np.float32),
        "vision_tower.q_proj.weight": np.ones((2, 2)),
    }
    (tmp_path / "base").mkdir()
    save_file(whole, tmp_path / "base" / "model.safetensors")
    base = WeightFiles.open(tmp_path / "base")
    adapter = write_adapter(tmp_path / "adapter", "base", whole)
    renamed = {
        key.replace("model.layers", "model.model.language_model.layers"): value for key, value in adapter.items()
    }
    save_file(renamed, tmp_path / "adapter" / FILE)
    found = AdaptedWeights.open(tmp_path / "adapter", base).read("layers.0.mlp.down_proj.weight")
    np.testing.assert_allclose(found, merged(whole, adapter)["layers.0.mlp.down_proj.weight"], atol=1e-5)
    assert list(canonical(base)) == ["model.layers.0.mlp.down_proj.weight"]


def test_judges_as_the_merged_checkpoint(place: Path) -> None:
    own, expected = (checkpoint.load(place / name) for name in ("adapter", "merged"))
    assert own.tokens(PROBLEM, 0, 1) == expected.tokens(PROBLEM, 0, 1)
    found = [float(judge.judge([(PROBLEM, np.array([[0, 1]]))])[0][0]) for judge in (own, expected)]
    assert found[0] == pytest.approx(found[1], abs=1e-5) and abs(found[0]) > 0.01


def test_reads_candidates_as_the_merged_checkpoint(place: Path) -> None:
    line = json.dumps({"prompt": PROBLEM.prompt, "candidates": list(PROBLEM.texts)}) + "\n"
    found = []
    for name in ("adapter", "merged"):
        options = ["--judge", str(place / name), "--ask", "likelihood"]
        result = CliRunner().invoke(cli, ["rerank", "-", *options], input=line)
        assert result.exit_code == 0, result.output
        found.append(json.loads(result.stdout))
    assert found[0]["p_best"] == pytest.approx(found[1]["p_best"], abs=1e-5)


def test_onto_a_file(place: Path, tmp_path: Path) -> None:
    """A GGUF file, whose rows stand in another order; its tokenizer counts."""
    base, expected = GgufWeights.open(place / "base.gguf"), WeightFiles.open(place / "merged")
    found = AdaptedWeights.open(place / "adapter", base)
    for name in base:
        np.testing.assert_allclose(found.read(name), expected.read(name), atol=2e-5)
    shutil.copytree(place / "adapter", tmp_path / "adapter")
    stated(base_model_name_or_path=str(place / "base.gguf"))(tmp_path / "adapter")
    own, merged = (checkpoint.load(folder) for folder in (tmp_path / "adapter", place / "merged"))
    assert own.tokens(PROBLEM, 0, 1) == merged.tokens(PROBLEM, 0, 1)


def test_what_b_a_is_multiplied_by(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "base", VARIANTS["llama2"])
    base = WeightFiles.open(tmp_path / "base")
    special = "model.layers.1.self_attn.q_proj"

    def rank(module: str) -> int:
        return 2 if module == special else 8 if module.endswith("down_proj") else RANK

    patterns = {"rank_pattern": {"layers.1.self_attn.q_proj": 2, "down_proj": 8}, "alpha_pattern": {special: 3.5}}
    for rslora in (False, True):
        adapter = write_adapter(tmp_path / "adapter", "base", base, rank, use_rslora=rslora, **patterns)

        def scale(module: str, root: bool = rslora) -> float:
            return (3.5 if module == special else 6) / (math.sqrt(rank(module)) if root else rank(module))

        expected = merged({key: base.read(key) for key in base}, adapter, scale)
        found = AdaptedWeights.open(tmp_path / "adapter", base)
        for key, value in expected.items():
            np.testing.assert_allclose(found.read(key), value, atol=2e-5, err_msg=key)


def test_where_the_base_is(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    cache = tmp_path / "hub" / "models--owner--base.v1"
    for revision, commit in (("main", "0" * 40), ("v2", "1" * 40)):
        shutil.copytree(place / "base", cache / "snapshots" / commit)
        (cache / "refs").mkdir(exist_ok=True)
        (cache / "refs" / revision).write_text(commit)
    for name in ("adapter", "base"):
        shutil.copytree(place / name, tmp_path / name)

    def found(name: str, **more: Any) -> Path:
        stated(base_model_name_or_path=name, **more)(tmp_path / "adapter")
        return base_of(tmp_path / "adapter")

    monkeypatch.chdir(place)
    assert found("../base") == tmp_path / "adapter" / "../base"
    assert found(str(place / "merged")) == place / "merged"
    assert found("base.gguf") == Path("base.gguf")  # from the current directory, as PEFT has it
    assert found("owner/base.v1") == cache / "snapshots" / ("0" * 40)
    assert found("owner/base.v1", revision="v2") == cache / "snapshots" / ("1" * 40)
    with pytest.raises(ValueError, match=r"'owner/none', but owner/none@v2 cannot be fetched .*set it to the path"):
        found("owner/none")


def test_identity_covers_base_and_adapter(place: Path, tmp_path: Path) -> None:
    def name() -> str:
        return checkpoint.load(tmp_path / "adapter").name

    for folder in ("base", "adapter"):
        shutil.copytree(place / folder, tmp_path / folder)
    names = [name()]
    assert names == [checkpoint.load(place / "adapter").name] and names[0].startswith("llama:")
    stated(base_model_name_or_path=str(tmp_path / "base"))(tmp_path / "adapter")
    assert name() == names[0]  # however the base is named
    for file in (tmp_path / "adapter" / FILE, tmp_path / "base" / "model.safetensors"):
        data = bytearray(file.read_bytes())
        data[-3] ^= 1
        file.write_bytes(data)
        names.append(name())
    stated(lora_alpha=7)(tmp_path / "adapter")
    assert len({*names, name()}) == 4


def test_the_tokenizer_beside_the_adapter_counts(place: Path, tmp_path: Path) -> None:
    """With the base's own ends of an answer, which the adapter's folder does not state."""
    for folder in ("base", "adapter"):
        shutil.copytree(place / folder, tmp_path / folder)
    (tmp_path / "base" / "generation_config.json").write_text('{"eos_token_id": [0, 1]}')
    before = checkpoint.load(tmp_path / "adapter")
    write_byte_bpe(tmp_path / "adapter", template=CHATML.replace("assistant", "person"))
    after = checkpoint.load(tmp_path / "adapter")
    assert after.tokens(PROBLEM, 0, 1) != before.tokens(PROBLEM, 0, 1)
    assert after.name != before.name and after.form.eos == before.form.eos == frozenset({0, 1})
    (tmp_path / "adapter" / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"adapter: no tokenizer\.json"):  # a template is not read without its tokenizer
        checkpoint.load(tmp_path / "adapter")


def stated(**changes: Any) -> Callable[[Path], Any]:
    return lambda f: (f / CONFIG).write_text(json.dumps(json.loads((f / CONFIG).read_text()) | changes))


def held(change: Callable[[Tensors], Any]) -> Callable[[Path], Any]:
    def edit(f: Path) -> None:
        found = load_file(f / FILE)
        change(found)
        save_file(found, f / FILE)

    return edit


Q = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
HEAD = "base_model.model.lm_head.weight"
FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "dora": (stated(use_dora=True), "use_dora = True is not supported; merge the adapter into its base"),
    "whole modules": (stated(modules_to_save=["lm_head"]), "modules_to_save = ['lm_head'] is not supported"),
    "biases": (stated(bias="lora_only"), "Invalid enum value 'lora_only' - at `$.bias`"),
    "biases of B": (stated(lora_bias=True), "lora_bias = True is not supported"),
    "transposed": (stated(fan_in_fan_out=True), "fan_in_fan_out = True is not supported"),
    "repeated layers": (stated(layer_replication=[[0, 1]]), "layer_replication"),
    "another start": (stated(init_lora_weights="pissa"), "Invalid enum value 'pissa' - at `$.init_lora_weights`"),
    "another kind": (stated(feedforward_modules=["x"], peft_type="IA3"), "Invalid enum value 'IA3' - at `$.peft_type`"),
    "no kind": (lambda f: (f / CONFIG).write_text("{}"), "missing required field `peft_type`"),
    "no base": (stated(base_model_name_or_path=None), "`$.base_model_name_or_path`"),
    "a key to come": (stated(use_new=True), "use_new = True is not supported"),
    "a rank of 0": (stated(r=0), "Expected `int` >= 1 - at `$.r`"),
    "an expression": (stated(rank_pattern={"(a+)+": 4}), "in `$.rank_pattern`"),
    "no object": (lambda f: (f / CONFIG).write_text("[]"), f"{CONFIG}: holds something else than it should"),
    "deep": (lambda f: (f / CONFIG).write_text('{"x": ' + "[" * 100_000), f"{CONFIG}: JSON nested too deeply"),
    "no such base": (
        stated(base_model_name_or_path="/nowhere/base"),
        "but there is no such file or folder; set it",
    ),
    "an adapter as base": (
        stated(base_model_name_or_path="."),
        "is an adapter itself; merge it into its own base first",
    ),
    "another rank": (stated(r=8), "lora_A.weight has shape (4, 48), but its rank and the base"),
    "no weights": (lambda f: (f / FILE).unlink(), f"{FILE}: missing; save the adapter"),
    "PyTorch": (lambda f: (f / FILE).rename(f / "adapter_model.bin"), "adapter_model.bin is a PyTorch file"),
    "no B": (held(lambda t: t.pop(f"{Q}B.weight")), f"{FILE}: no tensor {Q}B.weight"),
    "neither": (
        held(lambda t: (t.pop(f"{Q}B.weight"), t.pop(f"{Q}A.weight"))),
        f"{FILE}: no adapter of model.layers.0.self_attn.q_proj, although {CONFIG} names it",
    ),
    "one more": (held(lambda t: t.update({HEAD: np.ones((2, 2), np.float32)})), f"{HEAD} is not part of a LoRA"),
    "one that the base lacks": (
        held(
            lambda t: t.update({Q.replace("layers.0", "layers.7") + f"{s}.weight": t[f"{Q}{s}.weight"] for s in "AB"})
        ),
        "has no model.layers.7.self_attn.q_proj.weight; name the right base",
    ),
    "nothing": (held(lambda t: t.clear()), f"{FILE}: no tensor in it"),
    "integers": (held(lambda t: t.update({f"{Q}A.weight": np.ones((4, 32), np.int8)})), "A.weight is I8; only F32"),
    "cut": (lambda f: (f / FILE).write_bytes((f / FILE).read_bytes()[:-9]), f"{FILE}: "),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line(fault: str, place: Path, tmp_path: Path) -> None:
    change, said = FAULTS[fault]
    (tmp_path / "base").symlink_to(place / "base")
    shutil.copytree(place / "adapter", tmp_path / "adapter")
    change(tmp_path / "adapter")
    with pytest.raises(UserError) as caught:
        checkpoint.load(tmp_path / "adapter")
    assert (
        said in str(caught.value) and str(tmp_path / "adapter") in str(caught.value) and "\n" not in str(caught.value)
    )


def test_keys_that_change_nothing(place: Path, tmp_path: Path) -> None:
    (tmp_path / "base").symlink_to(place / "base")
    shutil.copytree(place / "adapter", tmp_path / "adapter")
    off = dict.fromkeys(("use_dora", "fan_in_fan_out", "lora_bias", "use_qalora"), False)
    nothing = dict.fromkeys(("modules_to_save", "layers_to_transform", "megatron_config", "target_parameters"))
    more = {
        "peft_version": "0.17",
        "init_lora_weights": True,
        "loftq_config": {},
        "inference_mode": True,
        "revision": None,
    }
    stated(**off, **nothing, **more)(tmp_path / "adapter")
    assert checkpoint.load(tmp_path / "adapter").name == checkpoint.load(place / "adapter").name
    # Where other keys choose the modules, the tensors alone say which they are.
    held(lambda t: (t.pop(f"{Q}B.weight"), t.pop(f"{Q}A.weight")))(tmp_path / "adapter")
    stated(exclude_modules=["q_proj"])(tmp_path / "adapter")
    load_scorer(tmp_path / "adapter")


def test_a_folder_with_a_model_is_that_model(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "merged", tmp_path / "both")
    for name in (CONFIG, FILE):
        shutil.copy(place / "adapter" / name, tmp_path / "both")
    assert not is_adapter(tmp_path / "both") and is_adapter(place / "adapter")


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from([CONFIG, FILE]), at=st.integers(0, 3000), put=st.binary(max_size=4), cut=st.booleans())
def test_any_byte_may_be_wrong(
    place: Path, tmp_path_factory: pytest.TempPathFactory, name: str, at: int, put: bytes, cut: bool
) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "base").symlink_to(place / "base")
    shutil.copytree(place / "adapter", folder / "adapter")
    data = (folder / "adapter" / name).read_bytes()
    at %= len(data)
    (folder / "adapter" / name).write_bytes(data[:at] + put + (b"" if cut else data[at + len(put) :]))
    try:
        load_scorer(folder / "adapter")
    except (OSError, ValueError) as error:
        assert "\n" not in str(error)
