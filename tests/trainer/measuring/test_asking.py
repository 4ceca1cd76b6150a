"""What a judge is asked of a task, and how its answers are read."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from releases import make

import flame_rank
from flame_rank.judges.function import FunctionJudge
from trainer.collection.examples import examples
from trainer.collection.tasks import by_name
from trainer.measuring.asking import ask, can_answer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("data"))


def test_a_language_model_is_asked_in_the_tasks_own_words(data: Path, tiny_model: Path) -> None:
    judge: Any = flame_rank.load_judge(tiny_model, max_length=2048, template="plain")
    for name in ("rankgen", "aggrefact-wice", "lens-overall"):
        task = by_name(name)
        given = list(examples(task, data))
        answers = list(ask(judge, task, given))
        for example, answer in zip(given, answers, strict=True):
            orders = [example.values]
            if task.kind == "pairwise":
                *context, first, second = example.values
                orders.append((*context, second, first))
            contexts = [dict(zip(task.context, values, strict=True)) for values in orders]
            plain = judge.score_choices(task.instructions, contexts, task.labels)
            if task.kind == "pairwise":
                log_odds = [np.log(p[0] / p[1]) for p in plain]
                wanted = 1 / (1 + np.exp(-(log_odds[0] - log_odds[1]) / 2))
                assert answer.p == pytest.approx((wanted, 1 - wanted), abs=1e-4)
                assert answer.flipped == (log_odds[0] * log_odds[1] > 0)
            else:
                assert answer.p == pytest.approx(tuple(plain[0]), abs=1e-4)
            assert answer.mass is not None and 0 < answer.mass < 1


def test_a_document_is_read_once_for_all_its_claims(data: Path, tiny_model: Path) -> None:
    task = by_name("aggrefact-wice")
    first = next(iter(examples(task, data)))
    document = "The town hall was built in 1890 and burned down twice. " * 8
    claims = [f"It burned down {word}." for word in ("once", "twice", "in 1890", "last year", "never")]
    given = [replace(first, values=(document, claim)) for claim in claims]
    given.insert(2, replace(first, values=("Another document.", claims[0])))
    used, answers = [], []
    for group in ([given[0]], given):
        judge: Any = flame_rank.load_judge(tiny_model, max_length=2048, template="plain")
        answers.append(list(ask(judge, task, group)))
        used.append(judge.kernel.usage.tokens)
    assert used[1] < 1.5 * used[0], "each document is read once"
    alone = [next(iter(ask(judge, task, [example]))) for example in given]
    for answer, single in zip(answers[1], alone, strict=True):
        assert answer.example == single.example and answer.p == pytest.approx(single.p, abs=1e-5)


def test_what_is_too_long_is_cut(data: Path, tiny_model: Path) -> None:
    task = by_name("aggrefact-wice")
    judge: Any = flame_rank.load_judge(tiny_model, max_length=512, template="plain")
    given = [next(iter(examples(task, data)))]
    long = [replace(given[0], values=("words " * 5000, given[0].values[1]))]
    (answer,) = ask(judge, task, long)
    assert sum(answer.p) == pytest.approx(1)


def test_a_judge_that_compares_gets_pairs_and_nothing_else(data: Path) -> None:
    judge = FunctionJudge(lambda prompt, pairs: [float(len(a) - len(b)) for a, b in pairs], name="longer")
    task = by_name("rankgen")
    given = list(examples(task, data))
    for example, answer in zip(given, ask(judge, task, given), strict=True):
        assert (answer.p[0] > 0.5) == (len(example.values[-2]) > len(example.values[-1]))
        assert answer.flipped is False and answer.mass is None
    claims = by_name("aggrefact-wice")
    assert not can_answer(judge, claims)
    with pytest.raises(ValueError, match="can only compare two responses"):
        list(ask(judge, claims, list(examples(claims, data))))


def test_a_failed_comparison_is_no_answer(data: Path) -> None:
    judge = FunctionJudge(lambda prompt, pairs: [float("nan")] * len(pairs), name="none")
    answers = list(ask(judge, by_name("rankgen"), list(examples(by_name("rankgen"), data))))
    assert answers and all(answer.p == () for answer in answers)


def test_a_judge_of_places_flips(data: Path) -> None:
    judge = FunctionJudge(lambda prompt, pairs: [1.0] * len(pairs), name="first")
    for answer in ask(judge, by_name("rankgen"), list(examples(by_name("rankgen"), data))):
        assert answer.flipped and answer.p == (0.5, 0.5)


def test_a_model_that_says_nothing_gives_no_answer(
    data: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge: Any = flame_rank.load_judge(tiny_model, max_length=2048, template="plain")
    nothing = lambda paths, targets: np.full((len(paths), len(targets)), np.nan)  # noqa: E731
    monkeypatch.setattr(judge.kernel, "log_likelihoods", nothing)
    for name in ("rankgen", "aggrefact-wice"):
        answers = list(ask(judge, by_name(name), list(examples(by_name(name), data))))
        assert answers and all(answer.p == () and answer.mass is None for answer in answers)
