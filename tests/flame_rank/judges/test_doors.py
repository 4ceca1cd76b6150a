"""What a folder of weights from elsewhere may hold: each fault is one line that names the file, at once."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import VARIANTS, write_checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from tokenizers_tiny import CHATML, write_byte_bpe

import flame_rank
from flame_rank import UserError
from flame_rank.model import config as configs
from flame_rank.model.checkpoint_files import read_config
from flame_rank.model.weight_files import WeightFiles

DEEP = "[" * 100_000 + "]" * 100_000
Change = Callable[[Path], Any]


def config(**changes: Any) -> Change:
    return lambda f: (f / "config.json").write_text(json.dumps(json.loads((f / "config.json").read_text()) | changes))


def template(source: str) -> Change:
    def change(f: Path) -> None:
        path = f / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": source}))

    return change


def instead(name: str, other: str, content: bytes = b"x") -> Change:
    def change(f: Path) -> None:
        (f / name).unlink()
        (f / other).write_bytes(content)

    return change


def text(name: str, content: str) -> Change:
    return lambda f: (f / name).write_text(content)


def fifo(name: str) -> Change:
    def change(f: Path) -> None:
        (f / name).unlink()
        os.mkfifo(f / name)

    return change


def without(name: str, *changes: Change) -> Change:
    def change(f: Path) -> None:
        (f / name).unlink()
        for further in changes:
            further(f)

    return change


LOOPS = (
    "{% for i in range(9999) %}{% for j in range(9999) %}{% for k in range(9999) %}{% endfor %}{% endfor %}{% endfor %}"
)
FAULTS: dict[str, tuple[Change, str]] = {
    "a deep configuration": (text("config.json", DEEP), "config.json: JSON nested too deeply"),
    "a deep value": (text("config.json", f'{{"x": {DEEP}}}'), "config.json: JSON nested too deeply"),
    "a deep tokenizer": (text("tokenizer.json", f'{{"x": {DEEP}}}'), "tokenizer.json"),
    "deep settings": (text("tokenizer_config.json", f'{{"x": {DEEP}}}'), "tokenizer_config.json"),
    "a deep generation": (text("generation_config.json", f'{{"x": {DEEP}}}'), "generation_config.json"),
    "a deep index": (
        without("model.safetensors", text("model.safetensors.index.json", f'{{"x": {DEEP}}}')),
        "model.safetensors.index.json",
    ),
    "a million layers": (config(num_hidden_layers=10**6), "config.json states 1000000 layers, but the weights have 1"),
    "a template that loops": (template(LOOPS + "{{ messages[0].content }}"), "it runs for more than"),
    "a template with powers": (template("{{ 10 ** (10 ** 10) }}{{ messages[0].content }}"), "too large"),
    "a template that repeats": (template("{{ 'x' * 10 ** 9 }}{{ messages[0].content }}"), "too large"),
    "a template that fills": (template("{{ 'x' | center(10 ** 9) }}{{ messages[0].content }}"), "too large"),
    "a template that calls": (template("{{ 'x'.center(1000000000) }}{{ messages[0].content }}"), "too large"),
    "a template that writes": (
        template("{% for i in range(9999) %}{{ 'x' * 9999 }}{% endfor %}{{ messages[0].content }}"),
        "it writes more than",
    ),
    "a pipe as weights": (fifo("model.safetensors"), "model.safetensors: not a regular file"),
    "a pipe as configuration": (fifo("config.json"), "config.json: not a regular file"),
    "PyTorch": (instead("model.safetensors", "pytorch_model.bin"), "pytorch_model.bin is a PyTorch file"),
    "TensorFlow": (instead("model.safetensors", "tf_model.h5"), "tf_model.h5 is a TensorFlow file"),
    "Flax": (instead("model.safetensors", "flax_model.msgpack"), "flax_model.msgpack is a Flax file"),
    "GGUF": (instead("model.safetensors", "m.gguf"), "m.gguf is a GGUF file; name it itself: "),
    "no adapter": (instead("model.safetensors", "adapter_config.json"), "adapter_config.json: not whole JSON"),
    "a shard less": (
        lambda f: (f / "model.safetensors").rename(f / "model-00001-of-00002.safetensors"),
        "model-00002-of-00002.safetensors: missing, one of 2 shards",
    ),
    "a tokenizer in parts": (
        without("tokenizer.json", text("vocab.json", "{}"), text("merges.txt", "")),
        "vocab.json and merges.txt, but no tokenizer.json",
    ),
    "another family": (config(model_type="bert"), "model_type 'bert' is not supported"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("door") / "whole"
    folder.mkdir()
    size = write_byte_bpe(folder, template=CHATML)
    write_checkpoint(folder, {**VARIANTS["llama2"], "vocab_size": size, "num_hidden_layers": 1})
    return folder


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line(fault: str, whole: Path, tmp_path: Path) -> None:
    change, said = FAULTS[fault]
    shutil.copytree(whole, tmp_path / "m")
    change(tmp_path / "m")
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        flame_rank.load_judge(tmp_path / "m")
    assert said in str(caught.value) and str(tmp_path / "m") in str(caught.value) and "\n" not in str(caught.value)
    assert time.monotonic() - start < 60


def test_a_pipe_is_no_gguf_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.gguf")
    with pytest.raises(UserError, match=r"m\.gguf: not a regular file"):
        flame_rank.load_judge(tmp_path / "m.gguf")


def test_what_changes_no_logit(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "m")
    more = {"transformers.js_config": {}, "torchscript": False, "pruned_heads": {}, "tokenizer_class": "X", "new": None}
    config(**more, _flash_attn_2_enabled=True, _model_name_or_path="x", unk_token_id=0)(tmp_path / "m")
    assert configs.read(read_config(tmp_path / "m")) == configs.read(read_config(whole))
    config(torchscript=True)(tmp_path / "m")
    with pytest.raises(UserError, match="torchscript = True is not supported"):
        flame_rank.load_judge(tmp_path / "m")


def test_shards_without_an_index(whole: Path, tmp_path: Path) -> None:
    tensors = load_file(whole / "model.safetensors")
    names = sorted(tensors)
    for i, some in enumerate((names[:3], names[3:]), 1):
        save_file({name: tensors[name] for name in some}, tmp_path / f"model-{i:05d}-of-00002.safetensors")
    found = WeightFiles.open(tmp_path)
    assert sorted(found) == names
    for name in names:
        np.testing.assert_array_equal(found.read(name), tensors[name])
    save_file(tensors, tmp_path / "model-00001-of-00002.safetensors")
    with pytest.raises(ValueError, match="remove one of the two"):
        WeightFiles.open(tmp_path)


def test_tokens_past_the_vocabulary(whole: Path, tmp_path: Path) -> None:
    """Fine as long as none occurs; a judgement with one has failed, and says so."""
    shutil.copytree(whole, tmp_path / "m")
    path = tmp_path / "m" / "tokenizer.json"
    stated = json.loads(path.read_text())
    size = 1 + max(token["id"] for token in stated["added_tokens"])
    more = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    stated["added_tokens"].append({"id": size, "content": "<far>", **more})
    path.write_text(json.dumps(stated))
    reranker = flame_rank.Reranker(flame_rank.load_judge(tmp_path / "m"), "round-robin")
    assert reranker.rank("p", ["a", "bb"]).decided
    [reason] = reranker.rank("p", ["a", "b <far>"]).reasons
    assert reason == f"ValueError: a text has token {size}, but the model has only {size} tokens"


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]),
    at=st.integers(0, 4000),
    put=st.binary(min_size=1, max_size=4),
)
def test_any_byte_may_be_wrong(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, name: str, at: int, put: bytes
) -> None:
    folder = tmp_path_factory.mktemp("bytes") / "m"
    shutil.copytree(whole, folder)
    data = bytearray((folder / name).read_bytes())
    at %= len(data)
    data[at : at + len(put)] = put
    (folder / name).write_bytes(data)
    try:
        flame_rank.load_judge(folder)
    except UserError as error:
        assert "\n" not in str(error)


def test_a_judge_is_named_by_a_text() -> None:
    name: Any = None
    with pytest.raises(UserError, match="a judge is loaded by its name or path, such as 'default', not by None"):
        flame_rank.load_judge(name)
