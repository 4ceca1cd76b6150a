"""What the tests have in common: no network, no language model but those made on the spot, quick compilation."""

import atexit
import json
import os
import shutil
import socket
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from places import SHARED

# jax_numpy_rank_promotion stays as it is: a layer adds a bias [D] to [B, T, D], as numpy would.

# The default judge finds no model here, nor in the processes that tests start: neither an installed package, which the
# one in without_model/ hides, nor what this machine has downloaded.
_WITHOUT_MODEL = str(Path(__file__).parent / "without_model")
sys.path.insert(0, _WITHOUT_MODEL)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_WITHOUT_MODEL, os.environ.get("PYTHONPATH")]))
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(Path(__file__).parent / "without_model" / "hub")}
os.environ.pop("FLAME_RANK_MODEL", None)
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # a test leaves nothing in the user's cache

hypothesis.settings.register_profile("any load", deadline=None)  # a test may take long on a machine that is busy
hypothesis.settings.load_profile("any load")


def pytest_configure(config: pytest.Config) -> None:
    """Compiles with few optimisations in the ordinary run, and each program once for all tests of a process: the toy
    models of the tests take far longer to compile than to run. The full run compiles as users do."""
    if "not full" not in config.option.markexpr or not (hasattr(config, "workerinput") or config.option.dist == "no"):
        return
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # also for the processes that tests start
    import jax

    if jax.__version_info__ < (0, 11):  # an XLA that does not know a flag ends the process
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false"

    programs = tempfile.mkdtemp(prefix="flame-rank-programs-")
    atexit.register(shutil.rmtree, programs, ignore_errors=True)
    jax.config.update("jax_compilation_cache_dir", programs)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches for the network fails here, not first on a machine without one. Those that are marked
    `loopback` talk to a server on this machine."""
    connect = socket.socket.connect
    loopback = request.node.get_closest_marker("loopback") is not None

    def local_only(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not (loopback and address[0] == "127.0.0.1"):
            raise AssertionError(f"a test connects to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random language model of the family of SmolLM2, with a chat template."""
    from checkpoints import VARIANTS, write_checkpoint
    from tokenizers_tiny import CHATML, write_byte_bpe

    folder = tmp_path_factory.mktemp("model")
    size = write_byte_bpe(folder, template=CHATML)
    write_checkpoint(folder, {**VARIANTS["llama2"], "vocab_size": size, "num_hidden_layers": 1})
    return folder


@pytest.fixture(scope="session")
def tiny_judge_dir(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A directory as `flame-train default` writes it, for the model above. Tests that change a file copy it first."""
    folder = tmp_path_factory.mktemp("judge")
    shape = {"overlap": 2.0, "repeated": -0.5, "refuses": -1.0}
    read = {"forward": 1.0, "gain": 0.5, "total": 0.02, "ending": 0.1, "reverse": 0.3, "refusal": 0.4}
    settings = {
        "model": {"name": "tiny", "identity": "", "path": str(tiny_model)},
        "max_length": 128,
        "reading": {
            "texts": {**shape, **read},
            "answers": {"vote": 3.0, "forward": 1.0},
            "few programs": {"overlap": 2.0, "forward": 2.0, "reverse": 0.5},
            "programs": {"overlap": 9.0},
        },
        "alone": {
            "texts": shape,
            "answers": {"vote": 4.0, "overlap": 1.0},
            "few programs": {"overlap": 4.0},
            "programs": {"overlap": 9.0},
        },
    }
    (folder / "judge.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="session")
def shared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data sets in ../shared, unpacked: real human judgements, of which no line is kept here."""
    packed = SHARED
    if not packed.is_dir():
        pytest.skip("needs ../shared/data, beside the checkout")
    folder = tmp_path_factory.mktemp("data")
    for part in ("train", "eval"):
        with tarfile.open(packed / f"{part}.tar.xz") as archive:
            archive.extractall(folder, filter="data")
    return folder
