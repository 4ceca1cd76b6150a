"""The examples run as a user runs them: with prepared samples."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from places import ROOT

EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "best_of_n.ipynb"


def run(*line: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, *map(str, line)], capture_output=True, text=True, check=False)
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
