"""What a training starts from, a Hugging Face directory or a GGUF file of a family that flame_rank/model computes, and
what it makes: a Hugging Face directory.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from flame_rank.errors import UserError
from flame_rank.judges.checkpoint import open_weights, read_config, read_decoder
from flame_rank.judges.options import Template
from flame_rank.model import config, sharding, t5, t5_config, text, weight_files, weights
from flame_rank.model.adapter_config import is_adapter
from flame_rank.model.chat import chat_template
from flame_rank.model.decoder import Decoder
from flame_rank.model.gguf import file as gguf_file
from flame_rank.model.gguf import tokenizer as gguf_tokenizer
from flame_rank.prompts.format import Format

Params = Any  # nnx.State, whose type parameters change from release to release

# All files of a directory that are no weights go along: tokenizer, templates, configuration.
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".msgpack", ".h5", ".gguf")


@dataclass(kw_only=True, eq=False)
class Base:
    """A model to be trained.

    Attributes:
      path: the directory or GGUF file that it was read from; its tokenizer goes along.
      stated: its config.json.
      graph, params: of the model, float32, each parameter on its devices.
      joined: it reads input and target in one row (a decoder), not each for itself (T5).
      form: the unified format in its tokens.
      longest: tokens that it can read in one row.
      layers: how many it has, of a T5 in its encoder.
    """

    path: Path
    stated: dict[str, Any]
    graph: Any
    params: Params
    joined: bool
    form: Format
    longest: int
    layers: int
    head_dim: int
    ignored: tuple[str, ...]

    def read(self, folder: Path, mesh: Mesh) -> Params:
        """The parameters of the base itself, or those that `save` wrote, float32."""
        shapes = nnx.split(nnx.eval_shape(lambda: nnx.merge(self.graph, self.params)))[1]
        places = sharding.shardings(shapes, mesh, self.head_dim, fully=True)
        files = open_weights(folder)
        return weights.fill(shapes, files, dtype=jnp.float32, shardings=places, ignore=self.ignored)

    def save(self, params: Params, folder: Path) -> None:
        """Writes a directory that judge, transformers and vLLM read, float32; `folder` is not there yet."""
        tensors = {".".join(map(str, path)): leaf[...] for path, leaf in nnx.to_flat_state(params)}
        stated = {name: value for name, value in self.stated.items() if name not in ("torch_dtype", "dtype")}
        with TemporaryDirectory() as there:
            others = self._beside_weights(Path(there))
            weight_files.save(folder, stated | {"torch_dtype": "float32"}, tensors, extra_files=others)

    def _beside_weights(self, there: Path) -> list[Path]:
        """The files of a directory that are no weights, nor config.json; for a GGUF file they are made in `there`."""
        if gguf_file.is_gguf(self.path):
            return gguf_tokenizer.save(gguf_file.read(self.path), there)
        return [
            path
            for path in sorted(self.path.iterdir())
            if path.is_file()
            and path.suffix not in _WEIGHTS
            and not path.name.startswith(("config.json", "model.safe"))
        ]


def load(path: Path, mesh: Mesh, *, template: Template | None = None) -> Base:
    """Reads a checkpoint directory or a GGUF file to train it.

    Args:
      template: whether the unified format goes through the checkpoint's chat template; without it, where it has one: as
        the judge reads it afterwards.

    Raises:
      UserError: a file is missing, not whole or does not fit the others, or asks for a computation not known here.
    """
    try:
        if is_adapter(path):
            raise ValueError("it is an adapter; merge it into its base (peft: merge_and_unload) and train that")
        stated = read_config(path)
        files = open_weights(path)
        tokenizer = text.load(path)
        chat = None if template == "plain" else chat_template(path)
        if template == "chat" and chat is None:
            raise ValueError("it has no chat template (chat_template.jinja or tokenizer_config.json)")
        if gguf_file.is_gguf(path):
            stated |= _for_others(stated["model_type"], gguf_file.read(path))
        joined = stated.get("model_type") != "t5"
        ignored: tuple[str, ...]
        if joined:
            shape, ignored = read_decoder(stated, files)
            if shape != config.read(stated):  # what is saved has to be read as this was
                stated["tie_word_embeddings"] = shape.tie_word_embeddings

            def make() -> nnx.Module:
                return Decoder(shape, nnx.Rngs(0))

            head_dim, longest = shape.head_dim, shape.max_position_embeddings
            vocabulary = shape.vocab_size
        else:
            wanted = t5_config.T5Config.read(stated, head=t5_config.HEAD in files)

            def make() -> nnx.Module:
                return t5.T5(wanted, nnx.Rngs(0))

            head_dim, longest, ignored = wanted.d_kv, 1 << 30, tuple(t5_config.IGNORED_TENSORS)
            vocabulary = wanted.vocab_size
        graph, shapes = nnx.split(nnx.eval_shape(make))
        tokenizer = text.within(tokenizer, vocabulary)
        places = sharding.shardings(shapes, mesh, head_dim, fully=True)
        params = weights.fill(shapes, files, dtype=jnp.float32, shardings=places, ignore=ignored)
    except (OSError, ValueError) as error:
        raise UserError(f"the model in {path} cannot be read: {error}") from error
    end = () if joined else tuple(sorted(tokenizer.eos))[:1]
    return Base(
        path=path,
        stated=stated,
        graph=graph,
        params=params,
        joined=joined,
        form=Format(tokenizer, chat=chat.around() if chat else None, lead=chat.lead() if chat else "", end=end),
        longest=longest,
        layers=weights.layers(files),
        head_dim=head_dim,
        ignored=ignored,
    )


def _for_others(model_type: str, header: gguf_file.Header) -> dict[str, Any]:
    """What config.json says beyond the model's shape: what ends a text, and the class that vLLM looks for."""
    said = gguf_tokenizer.settings(header)
    family = model_type.removesuffix("_text").capitalize()
    found: dict[str, Any] = {"architectures": [f"{family}ForCausalLM"]}
    return found | ({"eos_token_id": said.eos if len(said.eos) > 1 else said.eos[0]} if said.eos else {})
