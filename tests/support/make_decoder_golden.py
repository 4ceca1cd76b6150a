"""Writes golden/decoder.safetensors: what transformers makes of the tiny checkpoints of checkpoints.py.

    pip install torch==2.13.0 transformers safetensors && python tests/support/make_decoder_golden.py

Neither of the two is needed to run the tests.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from checkpoints import VARIANTS, write_checkpoint
from places import GOLDEN
from safetensors.numpy import save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

Array = npt.NDArray[Any]
PLACES = [0, 5, 15, 16, 17, 30, 39]  # before, at and behind the end of a window of 16


def load(folder: Path) -> Any:
    """The text model of a directory as transformers computes it, every tensor used and none made up."""
    config = AutoConfig.from_pretrained(folder)
    model, loading = AutoModelForCausalLM.from_pretrained(
        folder,
        config=config.get_text_config(),
        attn_implementation="eager",
        dtype=torch.float32,
        output_loading_info=True,
    )
    assert not any(loading.values()), loading
    return model.eval()


def reference(model: Any, tokens: Array) -> Array:
    """The logits [B, T, V]."""
    with torch.no_grad():
        return np.ascontiguousarray(model(input_ids=torch.tensor(tokens).long()).logits.numpy())


def main() -> None:
    disable_progress_bar()
    tokens = np.random.RandomState(0).randint(0, 97, (2, 40)).astype(np.int32)
    found = {"tokens": tokens, "places": np.array(PLACES, np.int32)}
    for name, config in VARIANTS.items():
        with tempfile.TemporaryDirectory() as folder:
            write_checkpoint(Path(folder), config)
            logits = reference(load(Path(folder)), tokens)[:, PLACES]
        found[name] = np.ascontiguousarray(logits)
        print(f"{name}: logits +- {logits.std():.2f}")
    path = GOLDEN / "decoder.safetensors"
    save_file(found, path, {name: json.dumps(config) for name, config in VARIANTS.items()})
    path.chmod(0o644)
    print(f"{path}: {path.stat().st_size} bytes, torch {torch.__version__}")


if __name__ == "__main__":
    main()
