"""Judges by their names on the hub: separate processes, and a server of the test's with the addresses of the hub."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import COMMIT, HubServer
from places import ROOT

from flame_rank.model import hub

LINE = json.dumps({"prompt": "What is 2 + 2?", "candidates": ["4", "5", "It is 4."]})


@pytest.fixture(scope="module")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    folder = tmp_path_factory.mktemp("repository") / "m"
    shutil.copytree(tiny_model, folder)
    # What a repository may hold besides: the same weights in other formats.
    for name in ("pytorch_model.bin", "onnx/model.onnx", "original/model.safetensors", "README.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x" * 1000)
    server = HubServer()
    server.add("some/model", folder)
    server.add("some/gated", folder)
    server.gated.add("some/gated")
    (folder / "model.safetensors").unlink()
    server.add("some/torch", folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def rerank(judge: str, home: Path, address: str, *, offline: bool = False) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HF_HOME": str(home), "HF_ENDPOINT": address, "HF_HUB_OFFLINE": str(int(offline))}
    command = [sys.executable, "-m", "flame_rank", "rerank", "-", "--judge", judge, "--max-length", "256"]
    command += ["--ask", "likelihood"]
    return subprocess.run(command, input=LINE, env=environment, cwd=ROOT, capture_output=True, text=True)


def test_a_judge_from_the_hub(server: HubServer, tmp_path: Path) -> None:
    server.asked.clear()
    first = rerank("some/model", tmp_path, server.address)
    assert first.returncode == 0, first.stderr
    record = json.loads(first.stdout)
    assert record["judge"].endswith(f":some/model@{COMMIT[:12]}")
    fetched = {path.rpartition("/")[2] for path in server.asked if "/resolve/" in path}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} >= fetched >= {"config.json"}
    files = {str(p.relative_to(tmp_path)).partition(f"{COMMIT}/")[2] for p in tmp_path.rglob("snapshots/**/*")}
    assert files & {"pytorch_model.bin", "onnx", "original", "README.md"} == set()
    server.asked.clear()
    # From the cache, also by the names of the revision; no request is made.
    again = rerank("hf:some/model", tmp_path, server.address, offline=True)
    assert (again.returncode, again.stdout) == (0, first.stdout) and not server.asked
    tagged = rerank(f"hf:some/model@{COMMIT}", tmp_path, server.address, offline=True)
    assert (tagged.returncode, tagged.stdout) == (0, first.stdout)


@pytest.mark.parametrize(
    ("judge", "offline", "message"),
    [
        ("some/gated", False, "some/gated cannot be fetched (it is gated: accept its terms on its page, then log in"),
        ("some/none", False, "HF_TOKEN); nor is there a folder some/none"),
        ("hf:some/none", False, "(some/none is not there, or private: check the name, or log in with `hf auth login`"),
        ("hf:some/model@v9", False, "some/model@v9 cannot be fetched (some/model has no such revision)"),
        ("some/torch", False, "some/torch has no whole weights in safetensors"),
        ("some/model", True, "some/model cannot be fetched (HF_HUB_OFFLINE is set: unset it, or fetch"),
        ("hf:model", False, "--judge hf:model: write hf:ORG/NAME"),
    ],
)
def test_what_cannot_be_fetched(judge: str, offline: bool, message: str, server: HubServer, tmp_path: Path) -> None:
    done = rerank(judge, tmp_path, server.address, offline=offline)
    assert done.returncode != 0 and not done.stdout
    assert message in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].count(message) == 1


def test_an_unreachable_hub(tmp_path: Path) -> None:
    done = rerank("some/model", tmp_path, "http://127.0.0.1:9")
    assert done.returncode != 0 and "the hub cannot be reached: check the network and HF_ENDPOINT" in done.stderr


@pytest.mark.parametrize("name", ["model", "some/model/", "some/model@", "some//model", "../model@a b"])
def test_names_that_are_not_on_the_hub(name: str) -> None:
    path, why = hub.fetch(name, download=False)
    assert path is None and why.startswith(f"{name} is not ORG/NAME")


@pytest.mark.parametrize(
    ("shards", "whole"),
    [
        (["model.safetensors"], True),
        (["model-00001-of-00002.safetensors"], False),
        (["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], True),
        (["other.safetensors"], False),
        (["adapter_model.safetensors"], True),
        ([], False),
    ],
)
def test_a_cache_that_holds_a_part_of_a_model(shards: list[str], whole: bool, tmp_path: Path) -> None:
    for shard in shards:
        (tmp_path / shard).write_bytes(b"")
    assert hub._has_weights(tmp_path) is whole
