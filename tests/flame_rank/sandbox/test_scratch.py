"""Scratch trees: whatever a program leaves behind is measured and removed."""

import os
from pathlib import Path

from flame_rank.sandbox import scratch


def test_removes_thousands_of_nested_folders(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    place = os.open(top, os.O_RDONLY)
    for depth in range(3000):
        os.mkdir("d", 0o700, dir_fd=place)
        inner = os.open("d", os.O_RDONLY, dir_fd=place)
        if depth % 1000 == 999:
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=inner))
        os.close(place)
        place = inner
    os.close(place)
    assert scratch.size(str(top), 1 << 30) >= 0
    scratch.remove(str(top))
    assert not top.exists()


def test_follows_no_link_and_needs_no_permission(tmp_path: Path) -> None:
    outside, top = tmp_path / "outside", tmp_path / "top"
    outside.mkdir(mode=0o755)
    (outside / "kept").write_text("kept")
    top.mkdir()
    (top / "link").symlink_to(outside)
    (top / "file link").symlink_to(outside / "kept")
    (top / "dangling").symlink_to("nothing")
    os.link(outside / "kept", top / "hard")
    os.mkfifo(top / "fifo")
    closed = top / "closed" / "inner"
    closed.mkdir(parents=True)
    (closed / "file").write_text("x")
    closed.chmod(0)
    (top / "closed").chmod(0)
    (top / ".0").mkdir()
    mode = (outside / "kept").stat().st_mode
    scratch.remove(str(top))
    assert not top.exists()
    assert (outside / "kept").read_text() == "kept" and (outside / "kept").stat().st_mode == mode


def test_size_counts_what_lies_on_disk(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(1 << 20))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(os.urandom(1 << 20))
    assert 2 << 20 <= scratch.size(str(tmp_path), 1 << 30) < 3 << 20
    assert scratch.size(str(tmp_path), 1 << 20) > 1 << 20
    assert scratch.size(str(tmp_path / "none"), 1) == 0


def test_removing_nothing_raises_nothing(tmp_path: Path) -> None:
    scratch.remove(str(tmp_path / "none"))
    (tmp_path / "file").write_text("x")
    scratch.remove(str(tmp_path / "file"))
    assert (tmp_path / "file").exists()
