"""What a run will take, against what runs take."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planning import Counting, idle, problems

import flame_rank
import strategies
from flame_rank import Problem
from flame_rank.judges.base import ProblemMemory
from flame_rank.judges.language_model import LanguageModelJudge
from flame_rank.judges.server.usage import Usage
from flame_rank.plan import plans, runs
from flame_rank.plan.plans import Plan, Plans
from flame_rank.plan.plans import plan as make
from flame_rank.ranking.reranker import Reranker
from strategies import Strategy, by_name
from strategies.base import FloatArray, IntArray


def one(found: Plans) -> Plan:
    (only,) = found.plans
    return only


@pytest.mark.parametrize("order", ["both", "random", "fixed"])
@pytest.mark.parametrize("name", [name for name in strategies.NAMES if name != "pointwise"])
def test_comparisons_are_those_of_a_run(name: str, order: Any) -> None:
    strategy, given, judge = by_name(name, order=order), problems(30), Counting()
    rankings = list(Reranker(judge, strategy).rank_many(given))
    found = make(given, Counting(), [strategy])
    assert sum(ranking.comparisons for ranking in rankings) == judge.asked
    assert one(found).least <= judge.asked <= one(found).most
    if name in ("round-robin", "knockout"):
        assert one(found).least == one(found).most
    assert (found.problems, found.candidates) == (30, sum(map(len, given)))
    assert found.distinct == sum(len({*problem.texts}) for problem in given)
    assert one(found).tokens is None and one(found).programs is None


def test_a_pointwise_judge_is_asked_the_same_whatever_the_strategy() -> None:
    given, judge = problems(20), Counting(pointwise=True)
    list(Reranker(judge, "round-robin").rank_many(given))
    found = make(given, Counting(pointwise=True), [by_name("round-robin"), by_name("knockout")])
    assert [(p.strategy, p.least, p.most) for p in found.plans] == [
        ("round-robin", judge.asked, judge.asked),
        ("knockout", judge.asked, judge.asked),
    ]


def test_a_budget_is_kept() -> None:
    given = problems(20)
    (every, active) = make(given, Counting(), [by_name(n, budget=4) for n in ("round-robin", "active")]).plans
    assert 0 < every.most <= 4 * 20 and 0 < active.most <= 4 * 20
    assert active.estimated


def test_programs_that_are_equal_up_to_formatting() -> None:
    given = [Problem(prompt="p", candidates=["def f(): pass", "def f():  pass", "no"])]
    assert one(make(given, Counting(), [by_name("round-robin")])).most == 6
    assert one(make(given, Counting(), [by_name("round-robin")], dedupe="ast")).most == 2


def usage(judge: LanguageModelJudge, strategy: Strategy, given: Sequence[Problem]) -> tuple[int, set[Any]]:
    """The tokens and shapes of a run."""
    kernel: Any = judge.kernel
    kernel.usage.tokens, kernel.usage.shapes = 0, set()
    if hasattr(kernel, "forget"):
        kernel.forget()
    list(Reranker(judge, strategy).rank_many(given))
    return kernel.usage.tokens, kernel.usage.shapes


@pytest.mark.usefixtures("without_probe")
@pytest.mark.parametrize("order", ["both", "fixed"])
@pytest.mark.parametrize("family", ["qwen2", "t5"])
def test_tokens_and_programs_are_those_of_a_run(
    family: str, order: Any, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "TOGETHER", 7)  # so that calls reach from one part of the file into the next
    judge, given = idle(folders[family]), problems(60)
    for strategy in (by_name("round-robin", order=order), by_name("pointwise", order=order)):
        found = one(make(given, judge, [strategy]))
        tokens, shapes = usage(judge, strategy, given)
        assert (found.tokens, found.programs) == (tokens, len(shapes))
        assert (found.estimated, found.sampled) == (False, None)


@pytest.mark.usefixtures("without_probe")
@pytest.mark.parametrize("on_long", ["cut", "skip"])
@pytest.mark.parametrize("family", ["qwen2", "t5"])
def test_with_what_is_too_long(family: str, on_long: str, folders: dict[str, Path]) -> None:
    judge = idle(folders[family], max_length=700, on_long=on_long)
    given = [Problem(prompt="p " * 30, candidates=["a", "b " * 80, "long " * 300, "more " * 350])]
    found = make(given, judge, [by_name("round-robin")])
    tokens, shapes = usage(judge, by_name("round-robin"), given)
    assert one(found).tokens == tokens and one(found).programs == len(shapes)
    assert 0 < found.long < 12 and found.on_long == on_long and found.max_length == 700


@pytest.mark.usefixtures("without_probe")
@pytest.mark.parametrize("on_long", ["cut", "skip"])
def test_a_judge_of_the_separate_form(on_long: str, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["qwen2"], tmp_path / "judge")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"flame_rank_responses": "separate"}))
    judge = idle(folder, max_length=700, on_long=on_long)
    given = [*problems(30), Problem(prompt="p " * 30, candidates=["a", "b " * 80, "long " * 300, "more " * 350])]
    found = make(given, judge, [by_name("round-robin")])
    tokens, shapes = usage(judge, by_name("round-robin"), given)
    assert one(found).tokens == tokens and one(found).programs == len(shapes)
    assert found.long > 0


@pytest.mark.usefixtures("without_probe")
def test_a_small_cache_is_emptied_now_and_then(folders: dict[str, Path]) -> None:
    judge = idle(folders["qwen2"], max_length=600)
    kernel: Any = judge.kernel
    kernel.capacity = 2560  # the least that it may have
    given, strategy = problems(60), by_name("round-robin")
    found = make(given, judge, [strategy])
    tokens, shapes = usage(judge, strategy, given)
    assert (one(found).tokens, one(found).programs) == (tokens, len(shapes))


ADAPTIVE = [name for name in strategies.NAMES if name not in ("round-robin", "pointwise")]


@pytest.mark.usefixtures("without_probe")
def test_an_adaptive_strategy_is_estimated(folders: dict[str, Path]) -> None:
    judge, given = idle(folders["qwen2"], max_length=600), problems(60)
    found = make(given, judge, [by_name(name) for name in ADAPTIVE])
    for name, planned in zip(ADAPTIVE, found.plans, strict=True):
        tokens, _ = usage(judge, by_name(name), given)
        assert planned.estimated and planned.sampled is None, name
        assert planned.tokens == pytest.approx(tokens, rel=0.25), name


@pytest.mark.usefixtures("without_probe")
def test_of_many_problems_a_sample_is_played_through(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    judge, given = idle(folders["qwen2"]), problems(600)
    asked = [by_name(name) for name in ("round-robin", "knockout", "merge")]
    every, *whole = make(given, judge, asked).plans
    monkeypatch.setattr(runs, "SAMPLE", 200)
    again, *sampled = make(given, judge, asked).plans
    assert again == every and every.sampled is None  # nothing there depends on answers
    for few, all_ in zip(sampled, whole, strict=True):
        assert few.sampled == 200 and all_.sampled is None
        assert (few.least, few.most) == (all_.least, all_.most)
        assert few.tokens == pytest.approx(all_.tokens, rel=0.05)
        assert few.programs == pytest.approx(all_.programs, rel=0.5)  # so few say little of what is rare


def test_a_judge_that_fails_has_no_seconds() -> None:
    class Broken(Counting):
        def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
            raise RuntimeError("ill")

    class Silent(Counting):
        def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
            return [np.full(len(pairs), np.nan) for _, pairs in asked]

    for judge, said in ((Broken(), "RuntimeError: ill"), (Silent(), "answered no comparison")):
        found = make(problems(5), judge, [by_name("round-robin")])
        assert one(found).seconds is None and said in str(found.probe.problem)


def test_the_file_is_a_stream() -> None:
    read = 0

    def source() -> Iterator[Problem]:
        nonlocal read
        for problem in problems(2000, words=2):
            read += 1
            yield problem

    assert make(source(), Counting(), [by_name("knockout")]).problems == read == 2000


class Rated(Counting):
    """A judge behind a server that reads each candidate once, in a hundred tokens, and asks for a price."""

    def __init__(self) -> None:
        super().__init__(pointwise=True)
        self.usage, self.price = Usage(), "1/1"
        self._seen: ProblemMemory[set[int]] = ProblemMemory()

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        for problem, pairs in asked:
            seen = self._seen.setdefault(problem, set())
            self.usage.prompt_tokens += 100 * len({*pairs.ravel().tolist()} - seen)
            seen |= {*pairs.ravel().tolist()}
        return super().judge(asked)


@pytest.mark.parametrize("n", [2, 5])
def test_tokens_of_a_judge_of_candidates_are_those_of_a_run(n: int) -> None:
    given = [Problem(prompt=str(k), candidates=[f"text {i}" for i in range(n)]) for k in range(50)]
    planned, judge = one(make(given, Rated(), [by_name("round-robin")])), Rated()
    list(Reranker(judge).rank_many(given))
    assert planned.tokens == judge.usage.prompt_tokens == 100 * n * 50


def test_seconds_of_a_choice_are_those_of_a_run(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge: Any = flame_rank.load_judge(tiny_model, ask="choice", max_length=1024)
    given = [Problem(prompt=f"{k} what is the sum", candidates=["a word", "two words of it", "it"]) for k in range(40)]
    monkeypatch.setattr("time.perf_counter", lambda: float(judge.kernel.usage.tokens))  # a token a second
    planned = one(make(given, judge, [by_name("pointwise")]))
    before = judge.kernel.usage.tokens
    list(Reranker(judge).rank_many(map(replace, given)))
    assert planned.tokens is None
    assert planned.seconds == pytest.approx(judge.kernel.usage.tokens - before, rel=0.3)
