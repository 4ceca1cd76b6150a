"""The example that trains FLAMe and FLAMe-RM: its stages are commands, which work one after the other."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import releases
from places import ROOT
from small_training import checkpoint

SCRIPT = ROOT / "examples" / "train_flame.py"


def run(*arguments: object, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Args:
    cache: the user's cache folder, in which compiled programs are kept; None = what the tests have.
    """
    environment = dict(os.environ)
    if cache is not None:
        environment = {name: value for name, value in environment.items() if not name.startswith("JAX_")}
        environment["XDG_CACHE_HOME"] = str(cache)
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT, env=environment
    )


def test_the_commands_are_shown(tmp_path: Path) -> None:
    shown = run("--base", "b.gguf", "--data", tmp_path, "--out", tmp_path / "out", "--set", "lora=3", "--show")
    lines = shown.stdout.splitlines()
    assert [line.split()[2] for line in lines] == ["run", "tail-patch", "run", *["evaluate"] * 3]
    assert all("--lora 3 " in line for line in lines[:3]) and not shown.stderr
    assert "--save-every 500 --keep 3000" in lines[0] and "flame/step-0001000 " in lines[1]  # it is saved and kept


def test_a_setting_without_a_value_is_named(tmp_path: Path) -> None:
    failed = run("--base", "b", "--data", tmp_path, "--out", tmp_path / "out", "--set", "lora")
    assert failed.returncode == 2 and "'lora' is not OPTION=VALUE" in failed.stderr


@pytest.fixture
def heeded() -> Iterator[None]:
    """Lets the programs that a test starts heed Ctrl-C, which may be ignored where the tests run."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.full
def test_ctrl_c_in_a_terminal_saves_the_step(tmp_path: Path, heeded: None) -> None:
    # A terminal interrupts the example and its stage alike.
    data, out = releases.make(tmp_path / "data"), tmp_path / "out"
    small = ["--steps", "1000", "--only", "1"]
    for setting in ("freeze=0", "lora=2", "max-input=1024", "max-target=64"):
        small += ["--set", setting]
    arguments = [str(checkpoint(tmp_path / "base")), "--data", str(data), "--out", str(out), *small]
    with subprocess.Popen(
        [sys.executable, SCRIPT, "--base", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith("step 20/") for line in process.stdout)
        os.killpg(process.pid, signal.SIGINT)
        said = process.stdout.read()
    [saved] = (out / "flame").glob("step-*")
    assert f"interrupted: {saved} is saved" in said and "the same command resumes it" in said
    assert int(saved.name.removeprefix("step-")) >= 20


@pytest.mark.full
def test_from_a_base_to_three_cards(tmp_path: Path) -> None:
    data, out = releases.make(tmp_path / "data"), tmp_path / "out"
    small = ["--steps", 3, "--patch-steps", 1, "--limit", 2]
    for setting in ("freeze=0", "lora=2", "max-input=1024", "max-target=64"):  # the tiny tokenizer has few words
        small += ["--set", setting]
    arguments = ("--base", checkpoint(tmp_path / "base"), "--data", data, "--out", out, *small)
    cache = tmp_path / "cache"
    done = run(*arguments, cache=cache)
    assert done.returncode == 0, done.stderr
    assert [*cache.rglob("jit_step-*-cache")]
    assert (out / "patches" / "ratings.csv").exists() and (out / "flame-rm" / "step-0000003").is_dir()
    for name in ("base", "flame", "flame-rm"):
        assert (out / "cards" / name / "card.md").exists()
    assert run(*arguments, cache=cache).returncode == 0  # all is there
