"""Compiled programs are kept between runs of the command, and change no byte of what it writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flame_rank.cli.compiled_programs import keep_programs


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A process that has not imported JAX, with a cache folder of its own."""
    for name in [name for name in os.environ if name.startswith("JAX_")]:
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return monkeypatch


def test_a_folder_in_the_users_cache(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keep_programs()
    folder = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    assert folder.is_dir() and folder.parent == tmp_path / "flame_rank"


def test_jaxs_own_variables_go_first(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    keep_programs()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "elsewhere"
    environment.delenv("JAX_COMPILATION_CACHE_DIR")
    environment.setenv("JAX_ENABLE_COMPILATION_CACHE", "False")
    keep_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ and not [*tmp_path.iterdir()]


def test_no_folder_that_cannot_be_made(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "flame_rank").write_text("a file")
    keep_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


@pytest.mark.full
def test_a_second_run_compiles_nothing_and_writes_the_same(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"prompt": "p", "candidates": ["a b", "b c d", "c"]}) + "\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    command = [sys.executable, "-m", "flame_rank", "rerank", "in.jsonl", "--judge", str(tiny_model)]
    kept, written = [], []
    for run in range(3):
        if run == 2:  # damaged files are as good as none
            for path in (tmp_path / "cache").rglob("*-cache"):
                path.write_bytes(path.read_bytes()[:100])
        done = subprocess.run(
            command, cwd=tmp_path, env={**environment, "XDG_CACHE_HOME": str(tmp_path / "cache")},
            capture_output=True, check=True,
        )  # fmt: skip
        written.append(done.stdout)
        assert b"Warning" not in done.stderr
        kept.append({path.name for path in (tmp_path / "cache").rglob("*-cache")})
    assert written[0] == written[1] == written[2] and kept[0] and kept[0] == kept[1] == kept[2]


def test_a_user_without_a_home(environment: pytest.MonkeyPatch) -> None:
    def nowhere(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    environment.delenv("XDG_CACHE_HOME")
    environment.setattr(Path, "expanduser", nowhere)
    keep_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
