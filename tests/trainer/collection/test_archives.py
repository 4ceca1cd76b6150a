"""Archives from elsewhere: whole or not at all, and not larger than they may be."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from flame_rank.errors import UserError
from trainer.collection import archives
from trainer.collection.archives import unpack


def tar(content: bytes = b"hello") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as members:
        info = tarfile.TarInfo("a.txt")
        info.size = len(content)
        members.addfile(info, io.BytesIO(content))
    return made.getvalue()


def packed(content: bytes = b"hello") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("a.txt", content)
    return made.getvalue()


def given(folder: Path, data: bytes, name: str) -> tuple[Path, Path]:
    (folder / "f.part").write_bytes(data)
    return folder / "f.part", folder / name


def test_a_tar_file_is_read_to_its_trailer(tmp_path: Path) -> None:
    whole = gzip.compress(tar())
    for data in (whole[:-4], whole[:-8] + b"\0\0\0\0" + whole[-4:]):  # without its length; with another checksum
        with pytest.raises(UserError, match=r"f\.tar\.gz: incomplete or damaged archive"):
            unpack(*given(tmp_path, data, "f.tar.gz"))
        assert list(tmp_path.iterdir()) == []
    unpack(*given(tmp_path, whole, "f.tar.gz"))
    assert (tmp_path / "a.txt").read_text() == "hello"


@pytest.mark.parametrize("name", ["f.zip", "f.tar.gz"])
def test_what_would_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(archives, "SLACK", 1000)
    content = b"0" * 5_000_000
    data = packed(content) if name == "f.zip" else gzip.compress(tar(content))
    with pytest.raises(UserError, match=r"unpacks to .* bytes or more, which is too much for its size"):
        unpack(*given(tmp_path, data, name))
    assert [path.name for path in tmp_path.iterdir()] == ["f.part"]


def test_zip_files_that_cannot_be_unpacked(tmp_path: Path) -> None:
    data = bytearray(packed())
    at = data.index(b"PK\x01\x02")
    for place, value, message in ((8, 1, "encrypted"), (10, 99, "compression method")):
        other = bytearray(data)
        other[at + place] = value
        other[place - 2] = value
        with pytest.raises(UserError, match=rf"f\.zip: cannot be unpacked here \(.*{message}.*\); unpack .* by hand$"):
            unpack(*given(tmp_path, bytes(other), "f.zip"))
    other = bytearray(data)
    other[14] ^= 1  # its checksum
    other[at + 16] ^= 1
    with pytest.raises(UserError, match=r"f\.zip: incomplete or damaged archive"):
        unpack(*given(tmp_path, bytes(other), "f.zip"))
