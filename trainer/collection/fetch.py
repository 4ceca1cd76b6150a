"""Fetches the official release of data sets: from Hugging Face and from plain addresses, resumed where it broke off.

An archive is unpacked where it lies, with the folders that it has.
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
from trainer.collection.archives import unpack
from trainer.collection.tasks.base import DataSet

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

    Beside FILE.part, which holds what came so far, FILE.part.from says which state of the address it came from.

    Raises:
      UserError: the address does not answer, or what came is not what upstream says, or another process fetches it.
    """
    if download.to.exists():
        return
    import httpx

    part = download.to.with_name(download.to.name + ".part")
    stated = part.with_name(part.name + ".from")
    part.parent.mkdir(parents=True, exist_ok=True)
    lock = writing.lock(part)
    try:
        wanted = _receive(download, lock, stated)
        if wanted and (digest := sha256(part)) != wanted:
            part.unlink()
            raise UserError(f"{download.address}: sha256 is {digest}, and upstream says {wanted}; run it again")
        unpack(part, download.to)
        part.rename(download.to)
    except httpx.HTTPError as error:
        raise UserError(
            f"{download.address}: {error or type(error).__name__}; run it again, it goes on where it broke off"
        ) from error
    finally:
        if not part.exists():
            stated.unlink(missing_ok=True)
        elif not part.stat().st_size:  # nothing came
            part.unlink()
        writing.release(lock)


def _receive(download: Download, part: int, stated: Path) -> str | None:
    """Takes what is missing of a file into `part`; returns the sha256 that upstream states, if it does."""
    import httpx

    have = os.fstat(part).st_size
    headers = {"Accept-Encoding": "identity"}  # the file's own bytes, of which the rest can be asked for
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
            pass  # all of it is there
        elif have and not partial and reply.status_code in (206, 416):  # a range that nobody asked for: once more
            os.ftruncate(part, 0)
            return _receive(download, part, stated)
        else:
            _check(reply.status_code, download)
            length = reply.headers.get("Content-Length")
            if not partial:
                have = 0  # it comes from the beginning
                os.ftruncate(part, 0)
                stated.write_text(_state(reply.headers))
            os.lseek(part, have, os.SEEK_SET)
            total = total if partial and total is not None else None if length is None else have + int(length)
            bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, disable=None, leave=False)
            with bar, open(part, "wb", buffering=0, closefd=False) as file:
                for chunk in reply.iter_raw():  # as it comes: what is kept back would be lost
                    while chunk:
                        taken = file.write(chunk) or 0
                        chunk = chunk[taken:]
                        bar.update(taken)
        # Hugging Face states it where it sends one on to where the file lies.
        said = [_stated(answer.headers) for answer in (*reply.history, reply)]
    size = os.fstat(part).st_size
    if total is not None and size != total:
        raise UserError(f"{download.address}: {size} of {total} bytes came; run it again")
    return download.sha256 or next(filter(None, said), None)


def _range(header: str) -> tuple[int | None, int | None]:
    """Where a Content-Range begins and how long the whole is: "bytes 5-9/10", "bytes */10"."""
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", header.strip())
    begin, total = found.groups() if found else (None, None)
    return (None if begin is None else int(begin)), (int(total) if total and total != "*" else None)


def _state(headers: Any) -> str:
    """What If-Range takes: a strong ETag, or when the file was changed."""
    tag = str(headers.get("ETag", ""))
    return tag if tag.startswith('"') else str(headers.get("Last-Modified", ""))


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


def sha256(path: Path) -> str:
    """The digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
