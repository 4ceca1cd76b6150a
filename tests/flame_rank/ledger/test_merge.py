"""Ledgers of several processes in one."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from flame_rank import FunctionJudge, Problem
from flame_rank.cli.group import cli
from flame_rank.errors import UserError
from flame_rank.ledger.merge import merge
from flame_rank.ledger.store import Ledger
from flame_rank.ray import gather

PAIRS = np.array([[0, 1], [1, 0]], np.int64)
JUDGE = FunctionJudge(lambda prompt, pairs: [0.0] * len(pairs), name="j")
OTHER = FunctionJudge(lambda prompt, pairs: [0.0] * len(pairs), name="other")


def problem(name: str) -> Problem:
    return Problem(prompt=name, candidates=["a", "b"])


def write(path: Path, judge: FunctionJudge = JUDGE, **answers: tuple[float, float]) -> Path:
    with Ledger(path, judge) as ledger:
        for name, answer in answers.items():
            ledger.record([(problem(name), PAIRS)], [np.array(answer)], ["why"], [np.array([0.9, np.nan])])
    return path


def known(path: Path, name: str, judge: FunctionJudge = JUDGE) -> list[float]:
    with Ledger(path, judge, read_only=True) as ledger:
        [found] = ledger.look_up([(problem(name), PAIRS)])
    assert found.known.all()
    return [float(log_odds) for log_odds in found.log_odds]


def test_all_judgements_are_there_once(tmp_path: Path) -> None:
    one = write(tmp_path / "1", p=(1.0, -1.0), q=(2.0, -0.0))
    two = write(tmp_path / "2", p=(1.0, -1.0), r=(3.0, np.inf))
    write(tmp_path / "2", OTHER, p=(7.0, 8.0))
    merged = merge(tmp_path / "all", [one, two])
    assert (merged.judgements, merged.repeated, merged.conflicts, merged.replaced) == (10, 2, 0, 0)
    assert known(tmp_path / "all", "p") == [1.0, -1.0] and known(tmp_path / "all", "r") == [3.0, np.inf]
    assert str(known(tmp_path / "all", "q")[1]) == "-0.0"
    assert known(tmp_path / "all", "p", OTHER) == [7.0, 8.0]
    with Ledger(tmp_path / "all", JUDGE) as ledger:
        [found] = ledger.look_up([(problem("p"), PAIRS)])
    assert found.mass[0] == 0.9 and np.isnan(found.mass[1])
    again = merge(tmp_path / "all", [two])  # after a retry
    assert (again.judgements, again.repeated, again.conflicts) == (6, 6, 0)


def test_conflicts_are_told_and_the_first_stays(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1", p=(1.0, -1.0)), write(tmp_path / "2", p=(1.25, -1.0))
    merged = merge(tmp_path / "all", [one, two])
    assert (merged.conflicts, merged.largest) == (1, 0.25)
    assert known(tmp_path / "all", "p") == [1.0, -1.0]


def test_a_valid_judgement_replaces_a_failure(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1", p=(np.nan, np.nan)), write(tmp_path / "2", p=(1.0, np.nan))
    for order in ([one, two], [two, one]):
        (tmp_path / "all").unlink(missing_ok=True)
        merge(tmp_path / "all", order)
        first, second = known(tmp_path / "all", "p")
        assert first == 1.0 and np.isnan(second)


def test_many_judgements_take_many_pages(tmp_path: Path) -> None:
    names = {f"p{k}": (float(k), -float(k)) for k in range(700)}
    merge(tmp_path / "all", [write(tmp_path / "1", JUDGE, **names)])
    assert known(tmp_path / "all", "p699") == [699.0, -699.0]


def test_the_command_says_what_came_of_it(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1", p=(1.0, -1.0)), write(tmp_path / "2", p=(1.25, -1.0), q=(1.0, 1.0))
    run = CliRunner().invoke(cli, ["ledger", "merge", str(tmp_path / "all"), str(one), str(two)])
    assert run.exit_code == 0, run.output
    assert "6 judgements read; 4 new; 2 known already; 1 differ, by 0.25 nats" in run.output
    run = CliRunner().invoke(cli, ["ledger", "merge", str(one), str(one)])
    assert isinstance(run.exception, UserError) and "same file" in str(run.exception)
    (tmp_path / "no").write_text("no ledger at all, but a text")
    with pytest.raises(UserError, match="no: "):
        merge(tmp_path / "all", [tmp_path / "no"])


def test_a_merge_that_fails_leaves_no_file_that_was_not_there(tmp_path: Path) -> None:
    one = write(tmp_path / "1", p=(1.0, -1.0))
    (tmp_path / "no").write_text("no ledger at all, but a text")
    with pytest.raises(UserError, match="no: "):
        merge(tmp_path / "all", [one, tmp_path / "no"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "no"]
    merge(tmp_path / "all", [one])
    with pytest.raises(UserError, match="no: "):
        merge(tmp_path / "all", [tmp_path / "no"])
    assert known(tmp_path / "all", "p") == [1.0, -1.0]


def test_the_file_of_a_worker_stays_as_long_as_it_is_open(tmp_path: Path) -> None:
    parts = gather(tmp_path / "all")
    parts.mkdir()
    write(parts / "ended.db", p=(1.0, -1.0))
    with Ledger(parts / "open.db", JUDGE) as ledger:
        ledger.record([(problem("q"), PAIRS)], [np.array((2.0, -2.0))], [None])
        gather(tmp_path / "all")
        assert known(tmp_path / "all", "p") == [1.0, -1.0] and known(tmp_path / "all", "q") == [2.0, -2.0]
        ledger.record([(problem("r"), PAIRS)], [np.array((3.0, -3.0))], [None])
        assert not (parts / "ended.db").exists()
    gather(tmp_path / "all")
    assert known(tmp_path / "all", "r") == [3.0, -3.0] and not parts.exists()
