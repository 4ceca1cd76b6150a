"""Finds models of the Hugging Face hub in its cache on this machine, and downloads them into it.

The library huggingface_hub decides where the cache is and which hub is asked: HF_HOME, HF_ENDPOINT, HF_TOKEN and
HF_HUB_OFFLINE have their usual effect.
"""

import re
from pathlib import Path

from flame_rank.model import text

PREFIX = "hf:"
MODEL = re.compile(r"(?P<repository>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w./-]+))?")
_NAME = re.compile(MODEL.pattern.replace("(@", r"(?P<file>(/[\w.-]+)+)?(@", 1))
_SHARD = re.compile(r"model-\d{5}-of-(\d{5})\.safetensors")
# What a checkpoint is read from; not what many repositories hold besides, such as the same weights in other formats.
_FILES = (
    *("config.json", "generation_config.json", "adapter_config.json", "chat_template.jinja"),
    *("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json", "adapter_model.safetensors"),
    *("tokenizer*.json", "tokenizer.model", "spiece.model", "special_tokens_map.json", "added_tokens.json"),
)


def fetch(name: str, *, download: bool = True) -> tuple[Path | None, str]:
    """Looks for a model in the cache, then on the hub; shows the progress of a download on stderr.

    Args:
      name: ORG/NAME for a checkpoint directory, ORG/NAME/FILE for a single file of it; @REVISION at the end selects a
        branch, a tag or a commit.
      download: whether to download it if it is not in the cache.

    Returns:
      The directory or the file; or None, and the reason in a few words.
    """
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    parts = _NAME.fullmatch(name)
    if parts is None:
        return None, f"{name} is not ORG/NAME, ORG/NAME/FILE or one of these with @REVISION"
    repository, revision, file = parts["repository"], parts["revision"], parts["file"]
    why = f"{name} is not in the Hugging Face cache"
    for local in (True, False) if download else (True,):
        try:
            if file:
                return Path(hf_hub_download(repository, file[1:], revision=revision, local_files_only=local)), ""
            folder = Path(
                snapshot_download(repository, allow_patterns=[*_FILES], revision=revision, local_files_only=local)
            )
            if _has_weights(folder) and (not local or _has_tokenizer(folder) or not download):
                return folder, ""
            if not local:
                why = f"{name} has no whole weights in safetensors"
        except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
            if not local:
                why = f"{name} cannot be fetched ({_reason(error, repository)})"
    return None, why


def commit(path: Path) -> str:
    """Returns ORG/NAME@COMMIT for a directory or a file in the cache, with the first digits of its commit."""
    parts = path.parts
    snapshot = len(parts) - 1 - parts[::-1].index("snapshots")
    return f"{parts[snapshot - 1].removeprefix('models--').replace('--', '/')}@{parts[snapshot + 1][:12]}"


def _has_tokenizer(folder: Path) -> bool:
    """Tells whether a tokenizer is there, or an adapter, whose base has one."""
    return text.is_here(folder) or (folder / "adapter_config.json").exists()


def _has_weights(folder: Path) -> bool:
    """Tells whether all weights are there; a cache may have only a part of a model."""
    shards = [shard for file in folder.iterdir() if (shard := _SHARD.fullmatch(file.name))]
    whole = any((folder / name).exists() for name in ("model.safetensors", "adapter_model.safetensors"))
    return whole or (bool(shards) and len(shards) == int(shards[0][1]))


def _reason(error: Exception, repository: str) -> str:
    """Explains why a model cannot be fetched, and what to do."""
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return "it is gated: accept its terms on its page, then log in with `hf auth login` or HF_TOKEN"
    if isinstance(error, RevisionNotFoundError):
        return f"{repository} has no such revision"
    if isinstance(error, RepositoryNotFoundError):
        return f"{repository} is not there, or private: check the name, or log in with `hf auth login` or HF_TOKEN"
    if isinstance(error, OfflineModeIsEnabled) or isinstance(error.__cause__, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set: unset it, or fetch the model where there is a network and copy HF_HOME"
    if isinstance(error, LocalEntryNotFoundError):
        return "the hub cannot be reached: check the network and HF_ENDPOINT, or fetch it elsewhere and copy HF_HOME"
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return first[:160]
