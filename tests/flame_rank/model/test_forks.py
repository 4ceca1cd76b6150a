"""A process that is forked after a model was loaded: an error, where JAX would wait for ever."""

import subprocess
import sys
from pathlib import Path

import pytest

FORKED = """
import os, sys, warnings
warnings.simplefilter("ignore")  # JAX itself warns at the fork
import flame_rank
judge = flame_rank.load_judge(sys.argv[1]) if sys.argv[2] == "before" else None
if os.fork() == 0:
    try:
        print(flame_rank.rerank("p", ["a", "bb"], judge=judge or sys.argv[1]).decided, flush=True)
    except flame_rank.UserError as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
"""


def run(judge: Path, when: str) -> str:
    done = subprocess.run([sys.executable, "-c", FORKED, judge, when], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("kind", ["model", "judge"])
def test_a_fork_of_a_process_with_a_model(kind: str, tiny_model: Path, tiny_judge_dir: Path) -> None:
    folder = {"model": tiny_model, "judge": tiny_judge_dir}[kind]
    assert "was forked from process" in run(folder, "before")


def test_a_fork_that_loads_the_model_itself(tiny_model: Path) -> None:
    assert run(tiny_model, "after") == "True"


OF_A_FUNCTION = """
import os, sys, flame_rank
judge = flame_rank.FunctionJudge(lambda prompt, pairs: [len(a) - len(b) for a, b in pairs], name="longer")
reranker = flame_rank.Reranker(judge, ledger=sys.argv[1] or None)
if os.fork() == 0:
    try:
        print(reranker.rank("p", ["a", "bb"]).best, flush=True)
    except flame_rank.UserError as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
"""


def test_a_function_is_a_judge_in_a_fork_but_for_its_ledger(tmp_path: Path) -> None:
    def run(ledger: str) -> str:
        command = [sys.executable, "-c", OF_A_FUNCTION, ledger]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()

    assert run("") == "bb"
    assert "make one after the fork" in run(str(tmp_path / "ledger"))
