"""A tiny base model, its rows and small releases, made once for all tests of a training."""

import shutil
from pathlib import Path

import gguf_files
import pytest
from checkpoints import VARIANTS, write_checkpoint
from safetensors.numpy import load_file
from small_training import MESH, TASK, checkpoint, write_words
from tokenizers_tiny import CHATML, write_byte_bpe

from trainer.collection.examples import examples
from trainer.finetune import base_model
from trainer.finetune.tokenized_rows import TokenizedRows, build


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("base") / "llama3")


@pytest.fixture(scope="session")
def base(folder: Path) -> base_model.Base:
    return base_model.load(folder, MESH)


@pytest.fixture(scope="session")
def rows(base: base_model.Base, tmp_path_factory: pytest.TempPathFactory) -> TokenizedRows:
    data = write_words(tmp_path_factory.mktemp("data"), 64)
    return build(base.form, "i", TASK, lambda: examples(TASK, data), data / "rows", max_input=256, max_target=8)


@pytest.fixture(scope="session")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf")
    config = VARIANTS["llama2"] | {"vocab_size": write_byte_bpe(folder, template=CHATML), "num_hidden_layers": 1}
    write_checkpoint(folder / "hf", config)
    tensors = gguf_files.converted(config, load_file(folder / "hf" / "model.safetensors"))
    metadata = gguf_files.parameters(config) | gguf_files.byte_bpe(folder, "gpt-2")
    gguf_files.write(folder / "m.gguf", "llama", metadata, tensors)
    return folder / "m.gguf"


@pytest.fixture(scope="session")
def made_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from releases import make

    whole, data = make(tmp_path_factory.mktemp("whole")), tmp_path_factory.mktemp("some")
    for name in ("mnli", "esnli", "hh_rlhf_harmless", "expert_lfqa"):
        shutil.copytree(whole / name, data / name)
    return data
