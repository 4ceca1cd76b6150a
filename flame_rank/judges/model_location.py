"""Finds the language model of a judge, on this machine or on the hub."""

import importlib.util
import os
from pathlib import Path

import msgspec

from flame_rank.errors import UserError
from flame_rank.judges.default.pool import ModelFile
from flame_rank.model import hub

VARIABLE = "FLAME_RANK_MODEL"


def find(model: ModelFile, *, download: bool = True, named: bool = False) -> tuple[Path | None, str]:
    """Looks for a model in this order: the path in FLAME_RANK_MODEL, an installed package, its path during learning,
    the Hugging Face cache, the hub.

    Args:
      download: fetch it from the hub if it is not on this machine.
      named: whether the user named this model, so that the variable does not replace it.

    Returns:
      A checkpoint directory or a GGUF file; or None, and the reason in a few words.

    Raises:
      UserError: FLAME_RANK_MODEL names a path that does not exist.
    """
    if not named and (given := os.environ.get(VARIABLE)):
        if not Path(given).exists():
            raise UserError(f"{VARIABLE}={given}: there is no such file or folder")
        return Path(given), ""
    if model.package and (path := _in_package(model.package)):
        return path, ""
    if model.path and Path(model.path).exists():
        return Path(model.path), ""
    return hub.fetch(model.hub, download=download) if model.hub else (None, f"{model.path or model.name} is not there")


def shipped() -> ModelFile:
    """Returns the model of the default judge."""
    from flame_rank.judges.default.pool import read_judge_settings

    model = read_judge_settings(Path(__file__).parent / "default").model
    assert model is not None, "the default judge has a model"
    return model


def locate(spec: str | None, option: str = "--model") -> tuple[ModelFile, Path]:
    """Returns the model that an option names (FILE.gguf, a checkpoint directory or hf:ORG/NAME) and its path; without a
    name, the default judge's model. The model's identity is left out, because no file is read.

    Args:
      option: the option's name, for messages.

    Raises:
      UserError: the model does not exist.
    """
    if spec is None:
        stated = shipped()
    elif spec.startswith("hf:"):
        owner, _, name = spec[3:].partition("/")
        if not owner or not name:
            raise UserError(f"{option} {spec}: write hf:ORG/NAME")
        stated = ModelFile(name=name.split("/")[0], identity="", hub=spec[3:])
    else:
        stated = ModelFile(name=Path(spec).stem, identity="", path=str(Path(spec).absolute()))
    path, why = find(stated, named=spec is not None)
    if path is None:
        raise UserError(f"{option} {spec or stated.name}: {why}")
    return stated, path


def identify(spec: str | None) -> tuple[ModelFile, Path]:
    """Returns the model that `--model` names, including its identity, and its path (see `locate`).

    Raises:
      UserError: the model does not exist or cannot be read.
    """
    from flame_rank.model.checkpoint_files import identity

    stated, path = locate(spec)
    try:
        return msgspec.structs.replace(stated, identity=identity(path)), path
    except (OSError, ValueError) as error:
        raise UserError(f"--model {path}: {error}") from error


def _in_package(place: str) -> Path | None:
    """Finds a file inside an installed package, "package/file", without importing the package."""
    package, _, file = place.partition("/")
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / file).is_file():
            return path
    return None
