"""Downloads the official releases of data sets from Hugging Face and other addresses, and continues interrupted
downloads.

An archive is unpacked into the folder that it is in, with the folders that it contains.
"""

import fnmatch
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tqdm import tqdm

from flame_rank.errors import UserError
from flame_rank.io import writing
from flame_rank.io.writing import part_of
from trainer.collection.archives import unpack
from trainer.collection.tasks.base import DataSet

_HUB = "hf://datasets/"
_WAIT = 60.0  # seconds without a byte


@dataclass(frozen=True, kw_only=True)
class Download:
    """One file to fetch.

    Attributes:
      address: the URL.
      to: the file to write.
      sha256: the digest that upstream states, if it does.
      token: sent with the request, for data sets that need an account.
    """

    address: str
    to: Path
    sha256: str | None = None
    token: str | None = None


def downloads(data: DataSet, folder: Path) -> list[Download]:
    """Lists the files of a data set's official release; a pattern is resolved by asking Hugging Face.

    Args:
      folder: the data set's own folder.

    Raises:
      UserError: the data set can only be downloaded by hand from its page, or Hugging Face does not answer.
    """
    if not data.downloads:
        raise UserError(f"{data.folder}: can only be downloaded by hand: {data.origin}; put its files into {folder}")
    files = []
    for address, file in data.downloads.items():
        for source, name in _resolved(address, file):
            to = folder / name
            hub = address.startswith(_HUB)
            files.append(Download(address=source, to=to, sha256=data.sha256.get(name), token=_token() if hub else None))
    return files


def fetch(download: Download) -> None:
    """Downloads one file, or the rest of it, and checks it; a file that exists is left as it is.

    FILE.part holds what has been received; beside it, FILE.part.from holds the version of the file at the address.

    Raises:
      UserError: the address does not answer, or the file does not have the digest that upstream states, or another
        process is downloading it.
    """
    if download.to.exists():
        return
    import httpx

    part = part_of(download.to)
    stated = part.with_name(part.name + ".from")
    part.parent.mkdir(parents=True, exist_ok=True)
    lock = writing.lock(part)
    try:
        wanted = _receive(download, lock, stated)
        if wanted and (digest := sha256(part)) != wanted:
            part.unlink()
            raise UserError(
                f"{download.address}: sha256 is {digest}, but upstream states {wanted}; run the command again"
            )
        unpack(part, download.to)
        part.rename(download.to)
    except httpx.HTTPError as error:
        raise UserError(
            f"{download.address}: {error or type(error).__name__}; run the command again to continue where it stopped"
        ) from error
    finally:
        if not part.exists():
            stated.unlink(missing_ok=True)
        elif not part.stat().st_size:  # nothing was received
            part.unlink()
        writing.release(lock)


def _receive(download: Download, part: int, stated: Path) -> str | None:
    """Receives what is missing of a file into `part`; returns the sha256 that upstream states, if it does."""
    import httpx

    have = os.fstat(part).st_size
    headers = {"Accept-Encoding": "identity"}  # the file's own bytes, so that the rest can be requested
    if have:
        headers["Range"] = f"bytes={have}-"
        if stated.exists() and (state := re.sub(rb"[^ -~]", b"", stated.read_bytes()).decode()):
            headers["If-Range"] = state
    if download.token:
        headers["Authorization"] = f"Bearer {download.token}"
    with httpx.stream("GET", download.address, headers=headers, follow_redirects=True, timeout=_WAIT) as reply:
        begin, total = _range(reply.headers.get("Content-Range", ""))
        partial = reply.status_code == httpx.codes.PARTIAL_CONTENT and begin == have
        if reply.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and total == have:
            pass  # all of it was received
        elif have and not partial and reply.status_code in (206, 416):  # another range than requested: start again
            os.ftruncate(part, 0)
            return _receive(download, part, stated)
        else:
            _check(reply.status_code, download)
            length = reply.headers.get("Content-Length")
            if not partial:
                have = 0  # the reply starts at the beginning
                os.ftruncate(part, 0)
                stated.write_text(_state(reply.headers))
            os.lseek(part, have, os.SEEK_SET)
            total = total if partial and total is not None else None if length is None else have + int(length)
            bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, disable=None, leave=False)
            with bar, open(part, "wb", buffering=0, closefd=False) as file:
                for chunk in reply.iter_raw():  # unbuffered, so that an interruption loses nothing
                    while chunk:
                        taken = file.write(chunk) or 0
                        chunk = chunk[taken:]
                        bar.update(taken)
        # Hugging Face states it in the reply that redirects to the storage of the file.
        digests = [_stated(answer.headers) for answer in (*reply.history, reply)]
    size = os.fstat(part).st_size
    if total is not None and size != total:
        raise UserError(f"{download.address}: {size} of {total} bytes were received; run the command again")
    return download.sha256 or next(filter(None, digests), None)


def _range(header: str) -> tuple[int | None, int | None]:
    """Reads the start and the total size of a Content-Range: "bytes 5-9/10", "bytes */10"."""
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", header.strip())
    begin, total = match.groups() if match else (None, None)
    return (None if begin is None else int(begin)), (int(total) if total and total != "*" else None)


def _state(headers: Any) -> str:
    """Returns a value for If-Range: a strong ETag, or the time of the last change."""
    tag = str(headers.get("ETag", ""))
    return tag if tag.startswith('"') else str(headers.get("Last-Modified", ""))


def _check(status: int, download: Download) -> None:
    if status in (401, 403):
        raise UserError(
            f"{download.address}: access denied ({status}); accept the terms at its page, then run `hf auth login`"
        )
    if status >= 400:
        raise UserError(f"{download.address}: not available ({status})")


def _stated(headers: object) -> str | None:
    """Reads the sha256 that Hugging Face states for large files."""
    tag = str(getattr(headers, "get", lambda *_: "")("X-Linked-ETag", "")).strip('"')
    return tag if len(tag) == 64 else None


def _resolved(address: str, file: str) -> Iterator[tuple[str, str]]:
    """Yields the URLs of an address and the names of their files; a pattern is replaced by the files that match it."""
    if not address.startswith(_HUB):
        yield address, file
        return
    owner, name, path = address.removeprefix(_HUB).split("/", 2)
    repository = f"{owner}/{name}"
    paths = [path] if "*" not in path else fnmatch.filter(_listed(repository), path)
    if not paths:
        raise UserError(f"{address}: no such file; perhaps the data set has changed")
    for match in paths:
        to = f"{file}{match.rsplit('/', 1)[-1]}" if file.endswith("/") else file
        yield f"{_endpoint()}/datasets/{repository}/resolve/main/{quote(match)}", to


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _listed(repository: str) -> list[str]:
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return list(HfApi(endpoint=_endpoint()).list_repo_files(repository, repo_type="dataset"))
    except (HfHubHTTPError, httpx.HTTPError) as error:
        raise UserError(f"{repository}: Hugging Face does not list its files ({str(error).splitlines()[0]})") from error


def _token() -> str | None:
    from huggingface_hub import get_token

    return get_token()


def sha256(path: Path) -> str:
    """Computes the digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
