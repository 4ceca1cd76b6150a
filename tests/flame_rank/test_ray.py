"""Rankings on a local Ray cluster: the bytes of a plain run, also if a worker is killed in the middle."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from places import ROOT

from flame_rank import Reranker, read_problems
from flame_rank.io.output import to_lines
from flame_rank.ledger.merge import merge

# A process of its own: a test may not connect to anything, and Ray's processes connect to each other.
PROGRAM = """
import sys
import ray
import flame_rank.ray

folder = sys.argv[1]
# Four logical processors: two for the actors, and some for what reads; with none left for that, nothing is read.
ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
ray.data.DataContext.get_current().enable_progress_bars = False
lines = ray.data.read_text(f"{folder}/in.jsonl")
options = {"actors": 2, "batch_size": 16, "strategy": "knockout", "ledger": f"{folder}/run.db"}
ranked = flame_rank.ray.rerank_dataset(lines, judge=f"{folder}/own.py:longer", **options)
with open(f"{folder}/out.jsonl", "w") as out:
    out.writelines(row["text"] + "\\n" for row in ranked.iter_rows())
"""
JUDGE = """
import os, signal
from pathlib import Path

def longer(prompt, pairs):
    killed = Path(__file__).with_name("killed")
    if prompt == "p50" and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return [float(len(a) - len(b)) for a, b in pairs]
"""


def longer(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
    return [float(len(a) - len(b)) for a, b in pairs]


@pytest.mark.full
@pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray (pip install '.[ray]')")
def test_a_killed_worker_changes_no_byte(tmp_path: Path) -> None:
    problems = [
        {
            "prompt": f"p{k}",
            "candidates": ["a" * (1 + (7 * k + 3 * i) % 11) for i in range(4)],
            "n": 2**60 + k,
            "x": 1.0,
        }
        | ({"only here": k} if k % 3 else {})
        for k in range(100)
    ]
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(problem) + "\n" for problem in problems))
    (tmp_path / "own.py").write_text(JUDGE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path)],
        capture_output=True, text=True, timeout=540, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "killed").exists()
    rankings = Reranker(longer, "knockout").rank_many(read_problems(source))
    plain = [json.loads(to_lines(ranking)) for ranking in rankings]
    judge = f"{tmp_path / 'own.py'}:longer"
    lines = (tmp_path / "out.jsonl").read_bytes()
    assert [json.loads(line) for line in lines.splitlines()] == [line | {"judge": judge} for line in plain]
    assert b"1152921504606846976" in lines and b'"x":1.0' in lines.replace(b": ", b":")
    merged = merge(tmp_path / "all.db", sorted((tmp_path / "run.db.parts").glob("*.db")))
    assert merged.judgements - merged.repeated == sum(line["comparisons"] for line in plain) and not merged.conflicts
