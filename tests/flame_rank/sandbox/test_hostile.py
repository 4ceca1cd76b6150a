"""None of a hundred hostile programs passes, outlives its limit or changes anything outside its scratch folder."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import OUTSIDE, hostile

from flame_rank.sandbox import pool
from flame_rank.sandbox.checker import WALL
from flame_rank.sandbox.pool import Order, Outcome, Sandbox

PROGRAMS = dict(hostile())
QUICK = [name for name in PROGRAMS if not name.startswith(("time", "processes", "memory"))]
LIMIT = 1.0


class World:
    """What a program might change, and whether it did."""

    def __init__(self, sandbox: Sandbox, folder: Path):
        self.sandbox, self.folder = sandbox, folder
        self.calls = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._listen, daemon=True).start()
        (folder / "kept").write_text("kept")
        folder.chmod(0o777)  # open to every user: nothing but the sandbox is in the way
        (folder / "kept").chmod(0o666)
        self.before = self.state()

    def _listen(self) -> None:
        while True:
            try:
                self.listener.accept()
            except OSError:
                return
            self.calls += 1

    def state(self) -> object:
        status = (self.folder / "kept").stat()
        kept = (self.folder / "kept").read_text(), status.st_mode, status.st_mtime_ns, status.st_nlink
        places = ("/dev/shm", "/var/tmp", "/run", "/")
        new = [str(path) for place in places if (path := Path(place) / "x").exists()]
        return [path.name for path in self.folder.iterdir()], self.folder.stat().st_mode, kept, new, self.calls

    def run(self, name: str) -> tuple[Outcome, float]:
        port = str(self.listener.getsockname()[1])
        program = PROGRAMS[name].replace(OUTSIDE, str(self.folder)).replace("PORT", port)
        order = Order(program=program, test="assert f(1) == 7302", entry_point="f", timeout=LIMIT, memory=256 << 20)
        self.sandbox.run(Order(program=""))  # what the program before left is removed by now
        began = time.monotonic()
        return self.sandbox.run(order), time.monotonic() - began


@pytest.fixture(scope="module", params=["best", "plain"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "plain":
            patch.setattr(pool, "LEVELS", ("plain",))
        with Sandbox(workers=1) as sandbox:
            if any("Landlock" in what or "seccomp" in what for what in sandbox.missing):
                pytest.skip(f"this kernel has no {sandbox.missing}")
            world = World(sandbox, tmp_path_factory.mktemp("outside"))
            yield world
            world.listener.close()


def test_there_are_a_hundred() -> None:
    assert len(PROGRAMS) >= 100


@pytest.mark.parametrize("name", QUICK)
def test_hostile(world: World, name: str) -> None:
    _check(world, name)


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name.startswith("processes")][:3])
def test_hostile_processes(world: World, name: str) -> None:
    _check(world, name)


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in PROGRAMS if name not in QUICK])
def test_hostile_slow(world: World, name: str) -> None:
    _check(world, name)


def test_the_sandbox_works_after_them(world: World) -> None:
    right = Order(program="def f(x): return x + 7301", test="assert f(1) == 7302", entry_point="f")
    assert world.sandbox.run(right).passed


def _check(world: World, name: str) -> None:
    outcome, seconds = world.run(name)
    assert not outcome.passed
    assert seconds < WALL * LIMIT + 2
    assert world.state() == world.before
