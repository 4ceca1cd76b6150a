"""The best candidate's record, and pairs in TRL's preference format."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_rank import Candidate, Problem, Ranking, read_problems
from flame_rank.io.selection import Pairs, best_line
from strategies.base import Standing

USER = {"role": "user", "content": "2 + 2?"}


def ranking(problem: Problem, scores: list[float], *, decided: bool = True) -> Ranking:
    values = np.array(scores, np.float64)
    p = np.exp(values) / np.exp(values).sum()
    standing = Standing(order=np.argsort(-values, kind="stable"), scores=values, p_best=p, decided=decided)
    return Ranking(problem=problem, standing=standing, comparisons=1, strategy="s", judge="j")


def problem(tmp_path: Path, *lines: Any) -> Problem:
    (tmp_path / "f").write_text("".join(json.dumps(line) + "\n" for line in lines))
    [found] = read_problems(tmp_path / "f")
    return found


def pairs(given: Ranking, **options: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Pairs(**options).lines(given).splitlines()]


def test_best_and_worst_are_a_pair_of_texts(tmp_path: Path) -> None:
    given = ranking(problem(tmp_path, {"task_id": "t", "prompt": "p", "candidates": ["a", "b", "c"]}), [0.0, 2.0, -1.0])
    wanted = {
        "task_id": "t",
        "prompt": "p",
        "chosen": "b",
        "rejected": "c",
        "score_chosen": 2.0,
        "score_rejected": -1.0,
    }
    assert pairs(given) == [wanted]
    chosen = [(pair["chosen"], pair["rejected"]) for pair in pairs(given, which="all")]
    assert chosen == [("b", "a"), ("b", "c"), ("a", "c")]
    assert [(p["chosen"], p["rejected"]) for p in pairs(given, which="all", margin=1.5)] == [("b", "a"), ("b", "c")]
    assert pairs(given, margin=3.0) == [wanted] and pairs(given, margin=3.5) == []


def test_messages_stay_messages(tmp_path: Path) -> None:
    chosen, rejected = ([{"role": "assistant", "content": text}] for text in ("4", "5"))
    given = ranking(problem(tmp_path, {"prompt": [USER], "chosen": chosen, "rejected": rejected}), [-1.0, 1.0])
    [pair] = pairs(given)
    assert (pair["prompt"], pair["chosen"], pair["rejected"]) == ([USER], rejected, chosen)
    implicit = {"chosen": [USER, *chosen], "rejected": [USER, *rejected]}
    [pair] = pairs(ranking(problem(tmp_path, implicit), [1.0, -1.0]))
    assert {key: pair[key] for key in implicit} == implicit and "prompt" not in pair


def test_texts_that_answer_messages_become_messages(tmp_path: Path) -> None:
    arguments = {"gen_args_0": {"arg_0": [json.dumps([USER])], "arg_1": {}}}
    line = {"doc_id": 0, "arguments": arguments, "resps": [["4", '[{"role": "no"}]']]}
    [pair] = pairs(ranking(problem(tmp_path, line), [1.0, -1.0]))
    assert pair["prompt"] == [USER]
    assert pair["chosen"] == [{"role": "assistant", "content": "4"}]
    assert pair["rejected"] == [{"role": "assistant", "content": '[{"role": "no"}]'}]


def test_candidates_of_several_messages_stay_whole(tmp_path: Path) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    turns = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "4"},
        {"role": "assistant", "content": "It is 4."},
    ]
    [pair] = pairs(ranking(problem(tmp_path, {"messages": [USER], "candidates": [turns, "5"]}), [1.0, -1.0]))
    assert (pair["prompt"], pair["chosen"]) == ([USER], turns)
    assert pair["rejected"] == [{"role": "assistant", "content": "5"}]
    share_gpt = {"conversations": [{"from": "human", "value": "2 + 2?"}], "candidates": ["4", "5"]}
    [pair] = pairs(ranking(problem(tmp_path, share_gpt), [1.0, -1.0]))
    assert pair["prompt"] == [USER]


def test_what_is_undecided_is_left_out() -> None:
    same = Problem(prompt="p", candidates=["a", "a", "b"])
    assert pairs(ranking(same, [1.0, 1.0, 0.0], decided=False), which="all") == []
    assert best_line(ranking(same, [1.0, 1.0, 0.0], decided=False)) == b""
    assert [(p["chosen"], p["rejected"]) for p in pairs(ranking(same, [1.0, 1.0, 0.0]), which="all")] == [
        ("a", "b")
    ] * 2
    assert pairs(ranking(Problem(prompt="p", candidates=["a", "b"]), [1.0, 1.0])) == []
    assert pairs(ranking(Problem(prompt="p", candidates=["a"]), [1.0])) == []


def test_a_random_pair_is_the_problems_own() -> None:
    problems = [Problem(prompt=f"p{k}", candidates=["a", "b", "c", "d"]) for k in range(40)]
    rankings = [ranking(p, [3.0, 2.0, 1.0, 0.0]) for p in problems]
    drawn = [pairs(r, which="random") for r in rankings]
    assert [pairs(r, which="random") for r in reversed(rankings)] == drawn[::-1]
    assert len({(p["chosen"], p["rejected"]) for [p] in drawn}) == 6
    assert [pairs(r, which="random", seed=1) for r in rankings] != drawn


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=6),
    st.floats(0, 3),
    st.sampled_from(["best-worst", "all", "random"]),
)
def test_the_chosen_one_is_the_better_one_by_the_margin(scores: list[float], margin: float, which: str) -> None:
    given = ranking(Problem(prompt="p", candidates=[str(i) for i in range(len(scores))]), scores)
    for pair in pairs(given, which=which, margin=margin):
        difference = scores[int(pair["chosen"])] - scores[int(pair["rejected"])]
        assert difference > 0 and difference >= margin
        assert (pair["score_chosen"], pair["score_rejected"]) == (
            scores[int(pair["chosen"])],
            scores[int(pair["rejected"])],
        )


def test_the_best_record_of_each_shape(tmp_path: Path) -> None:
    flat = problem(
        tmp_path,
        {"task_id": "t", "prompt": "p", "completion": "a", "id": 1},
        {"task_id": "t", "prompt": "p", "completion": "b", "id": 2},
    )
    best = json.loads(best_line(ranking(flat, [0.0, 1.0])))
    assert {key: best[key] for key in ("task_id", "completion", "id", "score")} == {
        "task_id": "t", "completion": "b", "id": 2, "score": 1.0,
    }  # fmt: skip
    texts = problem(tmp_path, {"task_id": "t", "prompt": "p", "candidates": ["a", {"text": "b", "seed": 7}]})
    assert json.loads(best_line(ranking(texts, [1.0, 0.0])))["completion"] == "a"
    best = json.loads(best_line(ranking(texts, [0.0, 1.0])))
    assert (best["task_id"], best["prompt"], best["text"], best["seed"]) == ("t", "p", "b", 7)
    made = Problem(prompt="p", candidates=[Candidate(text="a", fields={"n": np.float64(0.5)})])
    assert json.loads(best_line(ranking(made, [1.0])))["n"] == 0.5
    rollout = {"input": "p", "output": "a", "gts": "4", "score": 0.25, "step": 1}
    best = json.loads(best_line(ranking(problem(tmp_path, rollout), [2.0])))
    assert (best["score"], best["rank_score"], best["p_best"]) == (0.25, 2.0, 1.0)


def test_pairs_are_what_trl_takes_for_preferences(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    given = ranking(Problem(prompt="p", candidates=["a", "b"]), [1.0, 0.0])
    (tmp_path / "pairs.jsonl").write_bytes(Pairs().lines(given))
    rows = datasets.load_dataset(
        "json", data_files=str(tmp_path / "pairs.jsonl"), split="train", cache_dir=str(tmp_path)
    )
    assert {"prompt", "chosen", "rejected"} <= {*rows.column_names} and "margin" not in rows.column_names
    assert rows[0]["chosen"] == "a"


def test_the_best_of_the_best_keeps_the_samplers_score_and_the_problems_prompt(tmp_path: Path) -> None:
    first = problem(tmp_path, {"prompt": "P", "candidates": [{"text": "a", "score": 9, "prompt": "other"}, "b"]})
    line = json.loads(best_line(ranking(first, [0.5, 0.0])))
    assert line["score"] == 9 and line["rank_score"] == 0.5 and line["prompt"] == "P"
    again = problem(tmp_path, line | {"task_id": "t"})
    line = json.loads(best_line(ranking(again, [0.25])))
    assert line["score"] == 9 and line["rank_score"] == 0.25
