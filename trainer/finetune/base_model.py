"""The model from which training starts: a Hugging Face directory or a GGUF file of a family that flame_rank/model
supports. Training writes Hugging Face directories."""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from flame_rank.errors import UserError
from flame_rank.model import weight_files, weights
from flame_rank.model.adapter_config import is_adapter
from flame_rank.model.checkpoint_files import open_weights
from flame_rank.model.choices import Responses, Template
from flame_rank.model.config import RESPONSES
from flame_rank.model.families import Architecture, read_architecture
from flame_rank.model.gguf import file as gguf_file
from flame_rank.model.gguf import tokenizer as gguf_tokenizer
from flame_rank.model.tokenizer_settings import CONFIG as TOKENIZER_CONFIG
from flame_rank.prompts.format import Format, load_format
from trainer.collection import training_data
from trainer.collection.training_data import TrainingData

Params = Any  # nnx.State, whose type parameters change from release to release

_ANY_LENGTH = 1 << 30  # tokens: more than any row has
# All files of a directory but those of weights are copied: tokenizer, templates, configuration.
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".msgpack", ".h5", ".gguf")


@dataclass(kw_only=True, eq=False)
class Base:
    """A model to be trained.

    Attributes:
      path: the directory or GGUF file from which it was read; its tokenizer is copied.
      stated: the content of its config.json.
      architecture: how its family is computed.
      graph, params: the structure of the model and its parameters, float32, each parameter on its devices.
      form: the unified format in the tokens of this model.
      layers: the number of layers; for a T5, of encoder layers.
      training_data: what a saved model was trained on; None leaves out the file that says so.
      responses: the form in which comparisons are read.
    """

    path: Path
    stated: dict[str, Any]
    architecture: Architecture
    graph: Any
    params: Params
    form: Format
    layers: int
    training_data: TrainingData | None = None
    responses: Responses = "joint"

    @property
    def joined(self) -> bool:
        """Whether it reads input and target in one row, as a decoder does; T5 reads them separately."""
        return not self.architecture.reads_and_writes

    @property
    def longest(self) -> int:
        """The most tokens that it can read in one row."""
        return self.architecture.positions or _ANY_LENGTH

    def read(self, folder: Path, mesh: Mesh) -> Params:
        """Reads the parameters of the base, or of a folder that `save` wrote, in float32."""
        return self.architecture.load(open_weights(folder), mesh, jnp.float32, fully=True)[1]

    def save(self, params: Params, folder: Path) -> None:
        """Writes a directory that the judge, transformers and vLLM read, in float32; `folder` must not exist yet."""
        tensors = {".".join(map(str, path)): leaf[...] for path, leaf in nnx.to_flat_state(params)}
        stated = {name: value for name, value in self.stated.items() if name not in ("torch_dtype", "dtype")}
        with TemporaryDirectory() as temporary:
            others = self._beside_weights(Path(temporary))
            weight_files.save(folder, stated | {"torch_dtype": "float32"}, tensors, extra_files=others)

    def _beside_weights(self, temporary: Path) -> list[Path]:
        """Returns the files to copy, without weights and config.json, and without the chat template if it is not used;
        those of a GGUF file are made in `temporary`."""
        others = self._tokenizer_files(temporary)
        if self.form.template is None:
            others = [_without_template(path, temporary) for path in others if path.suffix != ".jinja"]
        return others

    def _tokenizer_files(self, temporary: Path) -> list[Path]:
        made = []
        if self.training_data is not None:
            made = [temporary / training_data.FILE]
            self.training_data.write(made[0])
        if gguf_file.is_gguf(self.path):
            return [*made, *gguf_tokenizer.save(gguf_file.read(self.path), temporary)]
        return made + [
            path
            for path in sorted(self.path.iterdir())
            if path.is_file()
            and path.suffix not in _WEIGHTS
            and not path.name.startswith(("config.json", "model.safe", "eval.json", training_data.FILE))
        ]


def _without_template(path: Path, temporary: Path) -> Path:
    """Returns a file, or a copy without the chat template if it has one."""
    if path.name != TOKENIZER_CONFIG:
        return path
    stated = json.loads(path.read_bytes())
    if stated.pop("chat_template", None) is None:
        return path
    (temporary / path.name).write_text(json.dumps(stated, indent=2) + "\n", "utf-8")
    return temporary / path.name


def load(path: Path, mesh: Mesh, *, template: Template | None = None, responses: Responses = "joint") -> Base:
    """Reads a checkpoint directory or a GGUF file to train it.

    Args:
      path: the directory or file.
      mesh: the devices.
      template: "chat" writes the unified format in the checkpoint's chat template, "plain" does not; None = "chat" if
        there is a template. A saved directory has a chat template only if it is used, so that the judge is asked alike.
      responses: the form in which comparisons are read; the checkpoints state it.

    Raises:
      UserError: a file is missing or damaged or does not fit the others, or needs a computation that is not supported.
    """
    try:
        if is_adapter(path):
            raise ValueError("it is an adapter; merge it into its base (peft: merge_and_unload) and train that")
        architecture = read_architecture(path)
        if responses == "separate" and architecture.reads_and_writes:
            raise ValueError("--responses separate is for decoders, but this model is a T5")
        stated = {key: value for key, value in architecture.stated.items() if key != RESPONSES}
        stated |= {RESPONSES: responses} if responses != "joint" else {}
        form = load_format(path, architecture, template=template)
        if gguf_file.is_gguf(path):
            stated |= _for_others(architecture.family, gguf_file.read(path))
        files = open_weights(path)
        graph, params = architecture.load(files, mesh, jnp.float32, fully=True)
    except (OSError, ValueError) as error:
        raise UserError(f"the model in {path} cannot be read: {error}") from error
    return Base(
        path=path,
        stated=stated,
        architecture=architecture,
        graph=graph,
        params=params,
        form=form,
        layers=weights.layers(files),
        responses=responses,
    )


def _for_others(model_type: str, header: gguf_file.Header) -> dict[str, Any]:
    """Returns the entries of config.json that other tools need: the ids that end a text, and the class for vLLM."""
    ends = gguf_tokenizer.settings(header).eos
    family = model_type.removesuffix("_text").capitalize()
    stated: dict[str, Any] = {"architectures": [f"{family}ForCausalLM"]}
    return stated | ({"eos_token_id": ends if len(ends) > 1 else ends[0]} if ends else {})
