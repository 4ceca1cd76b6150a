"""Makes a base model to train from scratch: random weights of a family, and a tokenizer learned from a mixture's text.

    python examples/make_checkpoint.py FAMILY SIZE DIR --data DATA

FAMILY is one of llama, mistral, qwen2, qwen3, gemma, gemma2, gemma3, t5; SIZE is one of 1m, 10m, 30m, 100m: the
approximate number of parameters, including the vocabulary. DATA contains the data sets of the collection; the tokenizer
learns from --text characters of the tasks with a permissive licence.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np
from flax import nnx
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from flame_rank.model import config, t5, weight_files
from flame_rank.model.decoder import Decoder
from flame_rank.model.t5_config import T5Config
from trainer.collection.examples import examples, is_available
from trainer.collection.mixture import trained_on
from trainer.collection.tasks import TASKS

# Layers, width, width of the MLP, heads, heads of keys and values, size of the vocabulary.
SIZES = {
    "1m": (2, 128, 256, 4, 2, 2048),
    "10m": (8, 288, 896, 4, 2, 8192),
    "30m": (8, 448, 1280, 7, 7, 16384),
    "100m": (12, 640, 2048, 10, 5, 32000),
}
FAMILIES = {
    "llama": "llama",
    "mistral": "mistral",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
    "t5": "t5",
}
BOS, EOS, PAD = "<s>", "</s>", "<pad>"


def texts(data: Path, characters: int) -> Iterator[str]:
    """Yields values of examples, about as many characters of each task."""
    tasks = [task for task in trained_on(TASKS, permissive=True, extra=True) if is_available(task, data)]
    if not tasks:
        raise click.ClickException(
            f"{data}: no data set of permissive licence is there; flame-train data fetch gets them"
        )
    each = characters // len(tasks)
    for task in tasks:
        left = each
        for example in islice(examples(task, data), 20_000):
            for value in example.values:
                yield value
                left -= len(value)
            if left < 0:
                break


def learn(texts: Iterable[str], size: int) -> Tokenizer:
    """Learns a byte-level BPE tokenizer with at most `size` tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def stated(family: str, size: str) -> dict[str, Any]:
    """Returns the config.json of a family and size."""
    layers, width, inner, heads, kv_heads, vocabulary = SIZES[size]
    common = {"vocab_size": vocabulary, "pad_token_id": 0, "eos_token_id": 2, "tie_word_embeddings": True}
    if family == "t5":
        return common | {
            "model_type": "t5",
            "architectures": ["T5ForConditionalGeneration"],
            "d_model": width,
            "d_ff": inner,
            "d_kv": width // heads,
            "num_layers": layers // 2,
            "num_decoder_layers": layers // 2,
            "num_heads": heads,
            "feed_forward_proj": "gated-gelu",
            "tie_word_embeddings": False,
            "decoder_start_token_id": 0,
        }
    kind = FAMILIES[family]
    return common | {
        "model_type": kind,
        "architectures": [f"{kind.split('_')[0].capitalize()}ForCausalLM"],
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": width // heads,
        "max_position_embeddings": 4096,
        "bos_token_id": 1,
    }


def write(family: str, size: str, folder: Path, texts: Iterable[str], seed: int = 0) -> tuple[int, int]:
    """Writes a checkpoint directory; returns the numbers of its parameters and of its tokenizer's tokens."""
    shape = stated(family, size)
    tokenizer = learn(texts, shape["vocab_size"])

    def model() -> nnx.Module:
        if family == "t5":
            return t5.T5(T5Config.read(shape), nnx.Rngs(seed))
        return Decoder(config.read(shape), nnx.Rngs(seed))

    params = nnx.split(model())[1]
    tensors = {".".join(map(str, path)): leaf[...] for path, leaf in nnx.to_flat_state(params)}
    # What a residual stream is added to by every layer starts smaller in a deep model (GPT-2's rule).
    scale = (2 * SIZES[size][0]) ** -0.5
    ends = ("o_proj.weight", "down_proj.weight", "Attention.o.weight", "wo.weight")
    tensors = {name: tensor * scale if name.endswith(ends) else tensor for name, tensor in tensors.items()}
    weight_files.save(folder, shape, tensors)
    tokenizer.save(str(folder / "tokenizer.json"))
    marks = {"bos_token": BOS, "eos_token": EOS, "pad_token": PAD, "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(marks, indent=1) + "\n")
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params)), tokenizer.get_vocab_size()


@click.command(help=__doc__)
@click.argument("family", type=click.Choice(list(FAMILIES)))
@click.argument("size", type=click.Choice(list(SIZES)))
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--text", default=20_000_000, show_default=True, help="Characters that the tokenizer learns from.")
@click.option("--seed", default=0, show_default=True)
def main(family: str, size: str, folder: Path, data: Path, text: int, seed: int) -> None:
    parameters, tokens = write(family, size, folder, texts(data, text), seed)
    click.echo(f"{folder}: {family}, {parameters / 1e6:.1f} M parameters, {tokens} tokens")


if __name__ == "__main__":
    main()
