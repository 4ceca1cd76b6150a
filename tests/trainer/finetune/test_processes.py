"""A training of many processes is that of one: the same losses, whoever begins it and whoever takes it up; and it ends
the same however often it is killed. Each process here is a real one, on the command line."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from places import ROOT
from releases import make
from safetensors.numpy import load_file
from small_training import checkpoint

import flame_rank
from tests.trainer.finetune.test_metrics import lines, same
from trainer.cli.group import cli

SLOW = 600  # seconds after which a process is taken to hang


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("base") / "llama3")


@pytest.fixture(scope="module")
def given(base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The arguments that all runs share."""
    whole, folder = make(tmp_path_factory.mktemp("whole")), tmp_path_factory.mktemp("some")
    shutil.copytree(whole / "mnli", folder / "data" / "mnli")
    (folder / "m.csv").write_text("task,weight\nmnli,1\n")
    paths = ["--base", base, "--data", folder / "data", "--mixture", folder / "m.csv"]
    numbers = ["--max-input", 512, "--max-target", 16, "--rate", 1e-3, "--log-every", 1]
    return list(map(str, paths + numbers))


def begin(
    given: list[str], out: Path, *more: object, processes: int = 1, devices: int = 1
) -> list[subprocess.Popen[str]]:
    """Starts `flame-train run` in so many processes, each with so many devices."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": str(devices)}
    program = [sys.executable, "-c", "from trainer.cli.group import main; main()", "run", *given, "--out", str(out)]
    started = []
    for k in range(processes):
        place = ["--coordinator", address, "--processes", processes, "--process", k] if processes > 1 else []
        command = [*program, *map(str, [*more, *place])]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment))
    return started


def run(given: list[str], out: Path, *more: object, processes: int = 1, devices: int = 1) -> list[str]:
    """What the processes of a training say."""
    started = begin(given, out, *more, processes=processes, devices=devices)
    try:
        said = [one.communicate(timeout=SLOW)[1] for one in started]
    finally:
        for one in started:
            one.kill()
    assert all(one.returncode == 0 for one in started), "\n".join(said)[-4000:]
    return said


def here(given: list[str], out: Path, *more: object) -> str:
    """The same in this process, on one device."""
    done = CliRunner().invoke(cli, ["run", *given, "--out", str(out), *map(str, more)])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stderr


def losses(out: Path) -> list[float]:
    found = [line for line in lines(out) if "loss" in line]
    assert [line["step"] for line in found] == list(range(1, len(found) + 1))
    return [line["loss"] for line in found]


def without_last(out: Path, to: Path) -> Path:
    """A run as if it was killed before its last checkpoint."""
    shutil.copytree(out, to)
    shutil.rmtree(sorted(to.glob("step-*"))[-1])
    return to


@pytest.mark.full
@pytest.mark.parametrize("rank", [0, 4])
def test_two_processes_train_as_one_does(rank: int, given: list[str], tmp_path: Path) -> None:
    steps = ["--steps", 6, "--save-every", 3, "--lora", rank]
    one, two = tmp_path / "one", tmp_path / "two"
    said = run(given, two, *steps, processes=2, devices=2)
    assert "step 6/6" in said[0] and "step" not in said[1]  # the first one alone speaks
    here(given, one, *steps)
    np.testing.assert_allclose(losses(two), losses(one), rtol=1e-5)
    assert same(one) and same(two)
    ends = [load_file(folder / "step-0000006" / "model.safetensors") for folder in (one, two)]
    for name, value in ends[0].items():
        np.testing.assert_allclose(ends[1][name], value, atol=2e-4, err_msg=name)
    assert (two / "step-0000006" / "adapter").exists() == bool(rank)
    judge = flame_rank.load_judge(two / "step-0000006")
    assert flame_rank.rerank("p", ["a", "b"], judge=judge).order in ([0, 1], [1, 0])
    killed = without_last(two, tmp_path / "killed")
    assert "taken up at step 3" in here(given, killed, *steps)
    np.testing.assert_allclose(losses(killed), losses(one), rtol=1e-5)
    assert same(killed)


@pytest.mark.full
def test_two_processes_take_up_a_run(given: list[str], tmp_path: Path) -> None:
    steps = ["--steps", 6, "--save-every", 3, "--eval", "mnli", "--eval-every", 3]
    one, two = tmp_path / "one", tmp_path / "two"
    here(given, one, *steps)
    run(given, two, *steps, processes=2, devices=2)
    np.testing.assert_allclose(losses(two), losses(one), rtol=1e-5)
    for begun in (one, two):
        killed = without_last(begun, tmp_path / f"{begun.name} killed")
        said = run(given, killed, *steps, "--model-parallel", 2, processes=2, devices=2)
        assert "taken up at step 3" in said[0]
        np.testing.assert_allclose(losses(killed), losses(one), rtol=1e-5)
        assert same(killed)
        assert flame_rank.load_judge(killed / "best").name.startswith("llama:")


@pytest.mark.full
def test_eight_devices_take_up_the_run_of_one(given: list[str], tmp_path: Path) -> None:
    one = tmp_path / "one"
    here(given, one, "--steps", 24, "--save-every", 4, "--keep", 9)
    eight = shutil.copytree(one, tmp_path / "eight")
    for folder in sorted(eight.glob("step-*"))[1:]:
        shutil.rmtree(folder)
    assert "taken up at step 4" in run(given, eight, "--steps", 24, "--save-every", 20, devices=8)[0]
    np.testing.assert_allclose(losses(eight), losses(one), rtol=1e-5)


@pytest.mark.full
def test_killed_at_any_moment_it_ends_the_same(given: list[str], tmp_path: Path) -> None:
    steps, kills = 200, 40
    numbers = ["--steps", steps, "--save-every", 2, "--keep", 2, "--eval", "mnli", "--eval-every", 2, "--eval-size", 8]
    run(given, tmp_path / "whole", *numbers)  # not here: the last bit depends on how many devices share the CPU
    rng, out, died, best = np.random.default_rng(0), tmp_path / "killed", 0, -1.0
    while died < kills and not (out / f"step-{steps:07}").exists():
        (one,) = begin(given, out, *numbers)
        newest, until = sorted(out.glob("step-*[0-9]"))[-1:], time.monotonic() + SLOW
        while one.poll() is None and sorted(out.glob("step-*[0-9]"))[-1:] == newest and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.3))
        one.send_signal(signal.SIGKILL)
        one.communicate()
        died += one.returncode == -signal.SIGKILL
        for folder in out.glob("step-*[0-9]"):
            assert load_file(folder / "model.safetensors") and (folder / "config.json").exists()
        if best >= 0 or (out / "best").exists():
            now = float(json.loads((out / "best" / "eval.json").read_text())["mean"])
            assert now >= best and load_file(out / "best" / "model.safetensors")
            best = now
    assert died
    run(given, out, *numbers)
    ends = [(tmp_path / name / f"step-{steps:07}" / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert ends[0] == ends[1]
    assert losses(out) == losses(tmp_path / "whole") and same(out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--processes", "2"], "go together"), (["--distributed"], "the processes do not find each other")],
)
def test_what_is_lacking_is_told(arguments: list[str], said: str, given: list[str], tmp_path: Path) -> None:
    (one,) = begin(given, tmp_path / "out", *arguments)
    assert said in one.communicate(timeout=SLOW)[1] and one.returncode == 2
