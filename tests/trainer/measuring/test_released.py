"""RewardBench 2, JudgeBench and RM-Bench: small files in their released forms, and figures that are known."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from click.testing import CliRunner
from pyarrow import parquet

from flame_rank.errors import UserError
from flame_rank.judges.function import FunctionJudge
from trainer.cli.group import cli
from trainer.measuring.answer_file import AnswerFile
from trainer.measuring.released import BENCHMARKS, Item, first_of_each
from trainer.measuring.released_figures import Answers, Row, rows
from trainer.measuring.released_suite import ItemLine, ask


def rating(text: str) -> float:
    """The quality that a response of these fixtures states at its end."""
    return float(text.rpartition("=")[2])


def rate(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
    return [rating(a) - rating(b) for a, b in pairs]


def first_place(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
    return [rating(a) - rating(b) + 5 for a, b in pairs]


RATES = FunctionJudge(rate, name="rates")


def responses(*ratings: float) -> list[str]:
    return [f"Response {k} ={value}" for k, value in enumerate(ratings)]


def best_of_n(id_: str, subset: str, right: Sequence[float], wrong: Sequence[float]) -> dict[str, Any]:
    return {
        **{"id": id_, "prompt": f"Prompt {subset} {id_}", "chosen": responses(*right), "rejected": responses(*wrong)},
        **{"num_correct": len(right), "num_incorrect": len(wrong), "total_completions": len(right) + len(wrong)},
        **{"models": ["m"], "subset": subset, "additional_metadata": {"category": None}},
    }


REWARDBENCH2 = [
    best_of_n("0", "Factuality", [3], [1, 2, 0]),
    best_of_n("1", "Factuality", [2], [1, 3, 0]),
    best_of_n("0", "Math", [3], [3, 2, 0]),  # as good as one of the others
    best_of_n("tied:0", "Ties", [5, 4], [1, 0]),
    best_of_n("ref:0", "Ties", [3], [1, 0]),
    best_of_n("tied:1", "Ties", [5, 1], [2, 0]),
    best_of_n("ref:1", "Ties", [3], [2, 0]),
]
JUDGEBENCH = [
    {
        **{"pair_id": f"p{k}", "original_id": str(k), "source": source, "question": f"Question {k}"},
        **{"response_model": "m", "response_A": f"A ={a}", "response_B": f"B ={b}", "label": label},
    }
    for k, (source, a, b, label) in enumerate(
        [
            ("mmlu-pro-law", 9, 0, "A>B"),
            ("mmlu-pro-law", 2, 0, "A>B"),
            ("livebench-reasoning", 0, 1, "A>B"),
            ("livecodebench", 0, 9, "B>A"),
        ]
    )
]


def styles(id_: int, domain: str, right: Sequence[float], wrong: Sequence[float]) -> dict[str, Any]:
    texts = {"chosen": responses(*right), "rejected": responses(*wrong)}
    return {"id": id_, "prompt": f"Prompt {domain} {id_}", **texts, "domain": domain}


RM_BENCH = [
    styles(0, "chat", [1, 2, 3], [0, 1, 2]),  # easy 3 of 3, normal 3 of 3, hard 0 of 3
    styles(1, "chat", [5, 5, 5], [0, 0, 9]),  # easy 3, normal 2, hard 1
    styles(0, "safety-refuse", [3, 3, 3], [0, 0, 0]),
    styles(0, "safety-response", [0, 0, 0], [3, 3, 3]),
]


def write(data: Path) -> Path:
    for name in BENCHMARKS:
        (data / name / "data").mkdir(parents=True)
    table = pyarrow.Table.from_pylist(REWARDBENCH2)
    parquet.write_table(table, data / "rewardbench2" / "data" / "test-00000-of-00001.parquet")
    lines = "".join(json.dumps(record) + "\n" for record in JUDGEBENCH)
    (data / "judgebench" / "data" / "dataset=judgebench,response_model=m.jsonl").write_text(lines)
    (data / "rm-bench" / "data" / "total_dataset.json").write_text(json.dumps(RM_BENCH))
    return data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data"))


def measured(data: Path, name: str, judge: FunctionJudge = RATES) -> dict[str, Row]:
    items = BENCHMARKS[name].read(data)
    return {row.name: row for row in rows(name, ask(judge, name, items, AnswerFile(ItemLine)))}


def ties_of_scores(prompts: Sequence[dict[str, Any]]) -> float:
    """RewardBench 2's own rule, from a score of each response."""
    stats: dict[str, dict[str, tuple[float, float]]] = {"tied": {}, "ref": {}}
    for prompt in prompts:
        kind, number = prompt["id"].split(":")
        right, wrong = ([rating(text) for text in prompt[key]] for key in ("chosen", "rejected"))
        stats[kind][number] = max(right) - min(right), min(right) - max(wrong)
    accuracy = {kind: np.mean([gap > 0 for _, gap in own.values()]) for kind, own in stats.items()}
    near, both, margin = [], [], []
    for number, (spread, gap) in stats["tied"].items():
        least = min(gap, stats["ref"][number][1])
        near.append(gap > spread)
        both.append(least > spread)
        margin.append(math.tanh(least / spread - 1))
    means = [float(np.mean(values)) for values in (near, both, margin)]
    return float(0.3 * sum(accuracy.values()) + 0.2 * means[0] + 0.2 * means[1] + 0.01 * means[2])


def test_best_of_four_and_ties(data: Path) -> None:
    table = measured(data, "rewardbench2")
    assert table["Factuality"].share[0] == 50 and table["Math"].share[0] == 50
    assert table["Factuality"].chance == 25 and table["Ties"].chance is None
    ties = 100 * ties_of_scores(REWARDBENCH2[3:])
    assert table["Ties"].share[0] == pytest.approx(ties)
    assert table["RewardBench 2"].share[0] == pytest.approx((50 + 50 + ties) / 3) and table["RewardBench 2"].n == 5
    for row in table.values():
        assert row.share[1] - 1e-9 <= row.share[0] <= row.share[2] + 1e-9


def test_pairs_by_source_and_by_the_authors_rule(data: Path) -> None:
    table = measured(data, "judgebench")
    assert table["JudgeBench"].share[0] == table["JudgeBench, right in both orders"].share[0] == 75
    assert {name: row.share[0] for name, row in table.items() if row.n < 4} == {
        "Knowledge": 100, "Reasoning": 0, "Coding": 100,
    }  # fmt: skip
    biased = measured(data, "judgebench", FunctionJudge(first_place, name="first place"))
    assert biased["JudgeBench"].share[0] == 75  # both orders cancel a preference for a place
    assert biased["JudgeBench, right in both orders"].share[0] == 50  # one pair flips


def test_nine_comparisons_of_three_styles(data: Path) -> None:
    table = {name: row.share[0] for name, row in measured(data, "rm-bench").items()}
    assert table["chat"] == pytest.approx(100 * 12 / 18) and table["safety"] == 50
    assert table["easy"] == 75 and table["normal"] == pytest.approx((100 * 5 / 6 + 50) / 2)
    assert table["hard"] == pytest.approx((100 / 6 + 50) / 2)
    assert table["RM-Bench"] == pytest.approx((table["easy"] + table["normal"] + table["hard"]) / 3)
    parts = Path(data) / "parts" / "rm-bench"
    parts.mkdir(parents=True)
    for domain in BENCHMARKS["rm-bench"].parts:
        own = [record for record in RM_BENCH if record["domain"] == domain]
        (parts / f"{domain}_filtered.json").write_text(json.dumps(own))
    assert {item.name for item in BENCHMARKS["rm-bench"].read(data / "parts")} == {
        item.name for item in BENCHMARKS["rm-bench"].read(data)
    }


def test_what_failed_is_left_out_and_another_judge_is_compared_on_the_same(data: Path) -> None:
    items = BENCHMARKS["judgebench"].read(data)
    ours = ask(RATES, "judgebench", items, AnswerFile(ItemLine))
    worse = FunctionJudge(lambda prompt, pairs: [-x for x in rate(prompt, pairs)], name="worse")
    theirs = ask(worse, "judgebench", items, AnswerFile(ItemLine))
    theirs[0] = Answers(item=items[0], forward=np.array([np.nan]), backward=np.array([0.0]))
    table = {row.name: row for row in rows("judgebench", ours, theirs)}
    assert table["JudgeBench"].n == 3
    assert table["JudgeBench"].difference is not None
    assert table["JudgeBench"].difference[0] == pytest.approx(100 * (2 / 3 - 1 / 3))


def test_a_limit_takes_whole_numbers_of_ties(data: Path) -> None:
    items = BENCHMARKS["rewardbench2"].read(data)
    some = first_of_each(items, 1)
    assert [item.part for item in some] == ["Factuality", "Math", "Ties", "Ties"]
    assert len({item.name.rpartition(":")[2] for item in some[2:]}) == 1
    assert first_of_each(items, None) == items and first_of_each(items, 9) == items


def broken(records: list[Any], change: Callable[[Any], object]) -> str:
    copies = json.loads(json.dumps(records))
    change(copies[0])
    return "".join(json.dumps(record) + "\n" for record in copies)


@pytest.mark.parametrize(
    ("name", "records", "change", "message"),
    [
        ("judgebench", JUDGEBENCH, lambda r: r.pop("label"), "x.jsonl:1: no field 'label'"),
        ("judgebench", JUDGEBENCH, lambda r: r.update(label="A=B"), "label is 'A=B'"),
        ("judgebench", JUDGEBENCH, lambda r: r.update(source="trivia"), "'trivia' is none of Knowledge"),
        ("judgebench", JUDGEBENCH, lambda r: r.update(pair_id="p1"), "p1 occurs twice"),
        ("rewardbench2", REWARDBENCH2, lambda r: r.update(num_correct=2), "num_correct is 2"),
        ("rewardbench2", REWARDBENCH2, lambda r: r.update(chosen=[]), "not a prompt with right and wrong responses"),
    ],
)
def test_other_files_are_told(
    name: str, records: list[Any], change: Callable[[Any], object], message: str, tmp_path: Path
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "x.jsonl").write_text(broken(records, change))
    with pytest.raises(UserError, match=f"{message}.*") as caught:
        BENCHMARKS[name].read(tmp_path)
    assert "twice" in message or "check that this is the release of" in str(caught.value)


def test_the_command_resumes(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "def rate(prompt, pairs):\n"
        "    return [float(a.rpartition('=')[2]) - float(b.rpartition('=')[2]) for a, b in pairs]\n\n"
        "def never(prompt, pairs):\n    return [float('nan')] * len(pairs)\n"
    )
    monkeypatch.chdir(tmp_path)
    for name in BENCHMARKS:
        asked = ["evaluate", "--data", str(data), "--suite", name]
        ran = CliRunner().invoke(cli, [*asked, "--judge", "mine.py:rate", "--out", name], catch_exceptions=False)
        assert ran.exit_code == 0 and Path(name, "card.md").read_text() == ran.stdout
        card = json.loads(Path(name, "card.json").read_text())
        assert card["benchmark"] == name and card["rows"][0]["n"] > 1
        before = Path(name, f"answers-{name}.jsonl").read_bytes()
        again = CliRunner().invoke(cli, [*asked, "--judge", "mine.py:rate", "--out", name], catch_exceptions=False)
        assert again.stdout == ran.stdout and Path(name, f"answers-{name}.jsonl").read_bytes() == before
        silent = CliRunner().invoke(cli, [*asked, "--judge", "mine.py:never"])
        assert isinstance(silent.exception, UserError) and "no valid answer" in str(silent.exception)
        beside = CliRunner().invoke(cli, [*asked, "--judge", "mine.py:rate", "--against", "mine.py:never"])
        assert isinstance(beside.exception, UserError) and "never: no valid answer" in str(beside.exception)
    nothing = CliRunner().invoke(cli, ["evaluate", "--judge", "agreement", "--data", ".", "--suite", "rm-bench"])
    assert "copy the files of github:THU-KEG/RM-Bench there" in str(nothing.exception)


def test_items_ask_right_against_wrong() -> None:
    item: Item = BENCHMARKS["rewardbench2"].item(REWARDBENCH2[3])
    assert item.pairs.tolist() == [[0, 2], [0, 3], [1, 2], [1, 3], [0, 1]] and item.right == 2
