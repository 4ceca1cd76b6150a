"""What rerank reads of other tools, by name or by shape, and what it writes for training."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flame_rank.cli.group import cli
from flame_rank.errors import UserError

LONGEST = "def longest(prompt, pairs):\n    return [float(len(a) - len(b)) for a, b in pairs]\n"


@pytest.fixture
def judge(tmp_path: Path) -> str:
    (tmp_path / "own.py").write_text(LONGEST)
    return f"{tmp_path / 'own.py'}:longest"


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def write(path: Path, *lines: Any) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_pairs_and_best_records_are_written(tmp_path: Path, judge: str) -> None:
    lines = [{"instruction": f"q{k}", "generations": ["a", "aaa", "aa"]} for k in range(3)]
    common = (write(tmp_path / "in.jsonl", *lines), "--judge", judge, "--strategy", "round-robin")
    pairs = invoke("rerank", *common, "--format", "pairs", "--pairs", "all", "--margin", "0.1")
    assert pairs.exit_code == 0, pairs.output
    first = json.loads(pairs.stdout.splitlines()[0])
    assert (first["prompt"], first["chosen"], first["rejected"]) == ("q0", "aaa", "aa")
    assert len(pairs.stdout.splitlines()) == 9
    best = invoke("rerank", *common, "--format", "best", "--shard", "2/2")
    [line] = best.stdout.splitlines()
    assert (json.loads(line)["prompt"], json.loads(line)["completion"]) == ("q1", "aaa")


def test_shards_merge_into_the_whole(tmp_path: Path, judge: str) -> None:
    source = write(tmp_path / "in.jsonl", *({"prompt": f"q{k}", "candidates": ["a", "aa"]} for k in range(5)))
    invoke("rerank", source, "--judge", judge, "-o", tmp_path / "whole")
    for part in (1, 2, 3):
        invoke("rerank", source, "--judge", judge, "--shard", f"{part}/3", "-o", tmp_path / str(part))
    run = invoke("merge", *(tmp_path / str(part) for part in (1, 2, 3)), "-o", tmp_path / "merged")
    assert run.exit_code == 0, run.output
    assert (tmp_path / "merged").read_bytes() == (tmp_path / "whole").read_bytes()


def test_an_address_is_read_and_written(tmp_path: Path, judge: str) -> None:
    pytest.importorskip("fsspec")
    source = write(tmp_path / "in.jsonl", {"prompt": "q", "candidates": ["a", "aa"]})
    run = invoke("rerank", f"file://{source}", "--judge", judge, "-o", f"file://{tmp_path}/out.jsonl")
    assert run.exit_code == 0, run.output
    assert json.loads((tmp_path / "out.jsonl").read_text())["best"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--margin", "1"], "--format pairs"),
        (["--format", "best", "--top", "1"], "--top is for --format ranked"),
        (["--shard", "3/2"], "--shard 3/2"),
        (["--shard", "x"], "--shard x"),
        (["--from", "verl"], 'no "output"'),
    ],
)
def test_options_of_formats_are_checked(options: list[str], message: str, tmp_path: Path, judge: str) -> None:
    source = write(tmp_path / "in.jsonl", {"prompt": "p", "candidates": ["a", "b"]})
    run = invoke("rerank", source, "--judge", judge, *options)
    assert isinstance(run.exception, UserError) and message in str(run.exception)
