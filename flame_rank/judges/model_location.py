"""Where a language model lies that a judge's weights or an adapter were learned for: on this machine or on the hub."""

import importlib.util
import os
import re
from pathlib import Path

from flame_rank.errors import UserError
from flame_rank.judges.default.pool import ModelFile
from flame_rank.model.adapter_config import CONFIG, AdapterConfig, is_adapter

VARIABLE = "FLAME_RANK_MODEL"
_FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model")
_ON_HUB = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def find(model: ModelFile, *, download: bool = True, named: bool = False) -> tuple[Path | None, str]:
    """Looks for a model: the path in FLAME_RANK_MODEL, an installed package, where it was learned with, the Hugging
    Face cache, the hub.

    Args:
      download: fetch it from the hub if it is not on this machine.
      named: the user named this very model, so that the variable does not speak for another.

    Returns:
      a checkpoint directory or a GGUF file; or None, and in a few words why.

    Raises:
      UserError: FLAME_RANK_MODEL names nothing that is there.
    """
    if not named and (given := os.environ.get(VARIABLE)):
        if not Path(given).exists():
            raise UserError(f"{VARIABLE}={given}: there is no such file or folder")
        return Path(given), ""
    if model.package and (path := _in_package(model.package)):
        return path, ""
    if model.path and Path(model.path).exists():
        return Path(model.path), ""
    return _on_hub(model.hub, download) if model.hub else (None, f"{model.path or model.name} is not there")


def shipped() -> ModelFile:
    """The model of the default judge."""
    from flame_rank.judges.default.pool import read_judge_settings

    model = read_judge_settings(Path(__file__).parent / "default").model
    assert model is not None, "the default judge has a model"
    return model


def located(spec: str | None, option: str = "--model") -> tuple[ModelFile, Path]:
    """The model that an option names, without its identity, and where it lies: FILE.gguf, a checkpoint directory, or
    hf:ORG/NAME; without a name, the default judge's. Nothing of the model is read.

    Args:
      option: the one that named it, for messages.

    Raises:
      UserError: it is not there.
    """
    if spec is None:
        stated = shipped()
    elif spec.startswith("hf:"):
        owner, _, name = spec[3:].partition("/")
        if not owner or not name:
            raise UserError(f"{option} {spec}: it is hf:ORG/NAME")
        stated = ModelFile(name=name.split("/")[0], identity="", hub=spec[3:])
    else:
        stated = ModelFile(name=Path(spec).stem, identity="", path=str(Path(spec).absolute()))
    path, why = find(stated, named=spec is not None)
    if path is None:
        raise UserError(f"{option} {spec or stated.name}: {why}")
    return stated, path


def base_of(adapter: Path) -> Path:
    """Where the model lies that an adapter was trained on: a path, from the adapter's folder or the current one, or a
    model of the Hugging Face cache or hub.

    Raises:
      OSError, ValueError: it cannot be found, or the adapter's configuration cannot be read.
    """
    config = AdapterConfig.read(adapter)
    name = config.base_model_name_or_path
    why = "there is no such file or folder"
    for path in (adapter / name, Path(name)):
        if path.exists() and is_adapter(path):
            raise ValueError(f"{adapter / CONFIG}: its base {path} is an adapter; merge that one into its base first")
        if path.exists():
            return path
    if _ON_HUB.fullmatch(name):
        found, why = _on_hub(name, True, config.revision)
        if found:
            return found
    raise ValueError(
        f"{adapter / CONFIG}: base_model_name_or_path is {name!r}, and {why}; write there the path of the base, "
        "a checkpoint directory or a GGUF file"
    )


def _in_package(place: str) -> Path | None:
    """A file inside an installed package, "package/file"; the package is not imported."""
    package, _, file = place.partition("/")
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / file).is_file():
            return path
    return None


def _on_hub(hub: str, download: bool, revision: str | None = None) -> tuple[Path | None, str]:
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    owner, name, *file = hub.split("/")
    repository, why = f"{owner}/{name}", f"{hub} is not in the Hugging Face cache"
    for local in (True, False) if download else (True,):
        try:
            if file:
                return Path(hf_hub_download(repository, "/".join(file), local_files_only=local)), ""
            folder = Path(
                snapshot_download(repository, allow_patterns=[*_FILES], revision=revision, local_files_only=local)
            )
            if any(folder.glob("*.safetensors")):
                return folder, ""
        except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
            if not local:
                first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                why = f"{hub} cannot be fetched ({first[:160]})"
    return None, why
