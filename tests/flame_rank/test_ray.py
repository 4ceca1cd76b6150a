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


NEEDS_RAY = pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray (pip install '.[ray]')")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}


def longer(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
    return [float(len(a) - len(b)) for a, b in pairs]


def written(folder: Path) -> Path:
    """Writes a hundred problems and the judge that kills its worker once."""
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
    (folder / "in.jsonl").write_text("".join(json.dumps(problem) + "\n" for problem in problems))
    (folder / "own.py").write_text(JUDGE)
    return folder / "in.jsonl"


@pytest.mark.full
@NEEDS_RAY
def test_a_killed_worker_changes_no_byte(tmp_path: Path) -> None:
    source = written(tmp_path)

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path)],
        capture_output=True, text=True, timeout=540, env=ENVIRONMENT, check=False,
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


def command(folder: Path, *options: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-W", "ignore", "-m", "flame_rank", "rerank", *map(str, options)]
    return subprocess.run(line, capture_output=True, text=True, timeout=540, env=ENVIRONMENT, cwd=folder, check=False)


@pytest.mark.full
@NEEDS_RAY
@pytest.mark.parametrize("form", ["ranked", "pairs"])
def test_the_command_writes_the_bytes_of_a_plain_run(tmp_path: Path, form: str) -> None:
    written(tmp_path)
    options = ["in.jsonl", "--judge", "own.py:longer", "--strategy", "knockout", "--format", form]
    on_ray = ["--ray", 2, "--ledger", "run.db", "--json-summary", "counts.json"]
    done = command(tmp_path, *options, *on_ray, "-o", "ray.jsonl")
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "killed").exists()
    plain = command(tmp_path, *options, "-o", "plain.jsonl", "--json-summary", "plain.json")
    assert plain.returncode == 0 and (tmp_path / "ray.jsonl").read_bytes() == (tmp_path / "plain.jsonl").read_bytes()
    assert done.stderr.splitlines()[-1] == plain.stderr.splitlines()[-1]
    counts, expected = (json.loads((tmp_path / name).read_text()) for name in ("counts.json", "plain.json"))
    assert counts == expected and not (tmp_path / "run.db.parts").exists()
    again = command(tmp_path, *options, *on_ray, "-o", "again.jsonl")
    assert again.returncode == 0 and (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "plain.jsonl").read_bytes()
    assert json.loads((tmp_path / "counts.json").read_text())["from_ledger"] == counts["comparisons"]
    resumed = command(tmp_path, *options, "--ledger", "run.db", "-o", "resumed.jsonl")
    assert f"{counts['comparisons']} of them from the ledger" in resumed.stderr


@pytest.mark.full
@NEEDS_RAY
def test_mistakes_are_one_line(tmp_path: Path) -> None:
    source = written(tmp_path)
    source.write_bytes(source.read_bytes() + b'{"prompt": "no candidates here"}\n')
    done = command(tmp_path, "in.jsonl", "--judge", "own.py:longer", "--ray", 1, "-o", "out.jsonl")
    assert done.returncode == 2 and not (tmp_path / "out.jsonl").exists()
    assert "no candidates; give them as a list" in done.stderr and "no candidates here" in done.stderr
    done = command(tmp_path, "in.jsonl", "--judge", "own.py:nothing", "--ray", 1)
    assert done.returncode == 2 and "has no attribute 'nothing'" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-", "--ray", 2], "--ray reads a file"),
        (["in.jsonl", "--ray", 2, "--shard", "1/2"], "--ray takes no --shard"),
        (["in.jsonl", "--ray", 2, "--on-bad-line", "skip"], "no --on-bad-line"),
        (["in.jsonl", "--ray", 2, "--report", "r.html"], "leave out --report"),
        (["in.jsonl", "--ray", 2, "--unordered"], "leave out --report, --unordered"),
        (["in.jsonl", "--ray-gpus", 0.5], "--ray-gpus is for --ray"),
    ],
)
def test_what_does_not_go_with_ray(options: list[object], reason: str, tmp_path: Path) -> None:
    written(tmp_path)
    done = command(tmp_path, *options, "--judge", "own.py:longer")
    assert done.returncode == 2 and reason in done.stderr and done.stderr.count("\n") == 1
