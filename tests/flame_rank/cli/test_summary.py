"""The summary of `flame-rank rerank`: for people, for programs, or none."""

import json
from pathlib import Path

import pytest
from commands import GOOD, Run, write


def test_quiet_says_only_what_is_wrong(rerank: Run, tmp_path: Path) -> None:
    done = rerank(write(tmp_path / "f", GOOD, "bad"), "--quiet", "--on-bad-line", "skip")
    assert done.status == 1 and len(done.records) == 1
    assert done.err.startswith("flame-rank: left out: ") and done.err.count("\n") == 1


def test_a_summary_for_programs(rerank: Run, tmp_path: Path) -> None:
    named = {"task_id": "t", **GOOD}
    counts = tmp_path / "counts.json"
    done = rerank(write(tmp_path / "f", named, named, "bad"), "--on-bad-line", "skip", "--json-summary", counts)
    assert done.status == 1 and done.err.splitlines()[-1].startswith("2 problems, 6 candidates, 12 comparisons")
    written = json.loads(counts.read_text())
    assert written.pop("mean_p_best") == pytest.approx(done.records[0]["p_best"][1])
    assert written.pop("consistency") == {"pairs": 6, "flips": 0, "triples": 2, "cycles": 0}
    assert {name: count for name, count in written.items() if count} == {
        **{"problems": 2, "candidates": 6, "comparisons": 12, "bad_lines": 1, "repeated": 1},
    }
    assert {"undecided", "invalid", "tied", "unsure", "truncated", "from_ledger", "failed_before"} < set(written)


@pytest.mark.parametrize("option", ["-o", "--json-summary"])
def test_the_summary_is_a_file_of_its_own(rerank: Run, tmp_path: Path, option: str) -> None:
    given = write(tmp_path / "f", GOOD)
    rerank(given, option, given).mistake("is the same file as the input")
    rerank(given, option, tmp_path / "none" / "out").mistake("its folder does not exist")


def test_ties_are_told(rerank: Run, tmp_path: Path) -> None:
    done = rerank(write(tmp_path / "f", GOOD), "--judge", "functions:tied")
    assert done.status == 0 and done.records[0]["tied"] == [0, 1, 2] and done.records[0]["best"] == 0
    assert "1 problem tied at the top" in done.err


def test_a_judge_that_flips_is_told(rerank: Run, tmp_path: Path) -> None:
    done = rerank(write(tmp_path / "f", GOOD, GOOD), "--judge", "functions:first_place", "--quiet")
    (warning,) = done.records[0]["warnings"]
    assert "the same place in both orders of 3 of 3 pairs" in warning
    assert done.status == 0 and "warning: the judge prefers the same place in both orders of 6 of 6 pairs" in done.err
    clean = rerank(write(tmp_path / "f", GOOD), "--quiet")
    assert "warnings" not in clean.records[0] and not clean.err
