"""Fetches the official release of data sets: from Hugging Face and from plain addresses, resumed where it broke off.

An archive is unpacked where it lies, with the folders that it has.
"""

import fnmatch
import hashlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tqdm import tqdm

from flame_rank.errors import UserError
from trainer.tasks.base import DataSet

_HUB = "hf://datasets/"
_WAIT = 60.0  # seconds without a byte


@dataclass(frozen=True, kw_only=True)
class Download:
    """One file to fetch.

    Attributes:
      address: what it is fetched from.
      to: where it goes.
      sha256: what upstream says of it, where it does.
      token: goes with the request, for data sets that ask for an account.
    """

    address: str
    to: Path
    sha256: str | None = None
    token: str | None = None


def downloads(data: DataSet, folder: Path) -> list[Download]:
    """The files of the official release of a data set; asks Hugging Face where a pattern stands for several.

    Args:
      folder: the data set's own.

    Raises:
      UserError: the data set has to be asked for at its page, or Hugging Face does not answer.
    """
    if not data.downloads:
        raise UserError(f"{data.folder}: is to be had at its page only: {data.origin}; put its files into {folder}")
    found = []
    for address, file in data.downloads.items():
        for source, name in _resolved(address, file):
            to = folder / name
            hub = address.startswith(_HUB)
            found.append(Download(address=source, to=to, sha256=data.sha256.get(name), token=_token() if hub else None))
    return found


def fetch(download: Download) -> None:
    """Fetches one file, or the rest of it, and checks it; a file that is there is left as it is.

    Raises:
      UserError: the address does not answer, or what came is not what upstream says.
    """
    if download.to.exists():
        return
    import httpx

    part = download.to.with_name(download.to.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}  # the file's own bytes, of which the rest can be asked for
    if have:
        headers["Range"] = f"bytes={have}-"
    if download.token:
        headers["Authorization"] = f"Bearer {download.token}"
    try:
        with httpx.stream("GET", download.address, headers=headers, follow_redirects=True, timeout=_WAIT) as reply:
            if reply.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:  # all of it is there
                total: int | None = have
            else:
                _check(reply.status_code, download)
                if reply.status_code != httpx.codes.PARTIAL_CONTENT:
                    have = 0  # it came from the beginning
                length = reply.headers.get("Content-Length")
                total = None if length is None else have + int(length)
                bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, disable=None, leave=False)
                with bar, part.open("ab" if have else "wb") as file:
                    for chunk in reply.iter_raw():  # as it comes: what is kept back would be lost
                        file.write(chunk)
                        bar.update(len(chunk))
            # Hugging Face states it where it sends one on to where the file lies.
            said = [_stated(answer.headers) for answer in (*reply.history, reply)]
            wanted = download.sha256 or next(filter(None, said), None)
    except httpx.HTTPError as error:
        raise UserError(
            f"{download.address}: {error or type(error).__name__}; run it again, it goes on where it broke off"
        ) from error
    size = part.stat().st_size
    if total is not None and size != total:
        raise UserError(f"{download.address}: {size} of {total} bytes came; run it again")
    if wanted and (digest := _sha256(part)) != wanted:
        part.unlink()
        raise UserError(f"{download.address}: sha256 is {digest}, and upstream says {wanted}; run it again")
    _unpack(part, download.to)
    part.rename(download.to)


def _unpack(archive: Path, name: Path) -> None:
    """Unpacks a zip or tar file into its folder; of what would go elsewhere nothing is written."""
    try:
        if name.suffix == ".zip":
            with zipfile.ZipFile(archive) as content:
                content.extractall(name.parent)
        elif ".tar" in name.suffixes or name.suffix == ".tgz":
            with tarfile.open(archive) as members:
                members.extractall(name.parent, filter="data")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error) as error:
        archive.unlink()
        raise UserError(f"{name}: not a whole archive ({error}); run it again") from error


def _check(status: int, download: Download) -> None:
    if status in (401, 403):
        raise UserError(
            f"{download.address}: not allowed ({status}); accept its terms at its page, then `hf auth login`"
        )
    if status >= 400:
        raise UserError(f"{download.address}: not to be had ({status})")


def _stated(headers: object) -> str | None:
    """The sha256 that Hugging Face states for large files."""
    tag = str(getattr(headers, "get", lambda *_: "")("X-Linked-ETag", "")).strip('"')
    return tag if len(tag) == 64 else None


def _resolved(address: str, file: str) -> Iterator[tuple[str, str]]:
    """What to fetch, and under which name: patterns become the files that they stand for."""
    if not address.startswith(_HUB):
        yield address, file
        return
    owner, name, path = address.removeprefix(_HUB).split("/", 2)
    repository = f"{owner}/{name}"
    paths = [path] if "*" not in path else fnmatch.filter(_listed(repository), path)
    if not paths:
        raise UserError(f"{address}: no such file; has the data set changed?")
    for found in paths:
        to = f"{file}{found.rsplit('/', 1)[-1]}" if file.endswith("/") else file
        yield f"{_endpoint()}/datasets/{repository}/resolve/main/{quote(found)}", to


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _listed(repository: str) -> list[str]:
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return list(HfApi(endpoint=_endpoint()).list_repo_files(repository, repo_type="dataset"))
    except (HfHubHTTPError, httpx.HTTPError) as error:
        raise UserError(f"{repository}: Hugging Face does not list it ({str(error).splitlines()[0]})") from error


def _token() -> str | None:
    from huggingface_hub import get_token

    return get_token()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
