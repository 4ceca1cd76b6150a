"""Models of the Hugging Face hub, from its cache on this machine or fetched into it."""

from pathlib import Path

_FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model")


def fetch(name: str, *, download: bool = True, revision: str | None = None) -> tuple[Path | None, str]:
    """Looks for a model in the cache, then on the hub.

    Args:
      name: ORG/NAME for a checkpoint directory, ORG/NAME/FILE for a single file of it.
      download: fetch it if it is not in the cache.
      revision: a branch, a tag or a commit.

    Returns:
      the directory or the file; or None, and in a few words why.
    """
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    owner, model, *file = name.split("/")
    repository, why = f"{owner}/{model}", f"{name} is not in the Hugging Face cache"
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
                why = f"{name} cannot be fetched ({first[:160]})"
    return None, why
