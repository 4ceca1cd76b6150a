"""What a judge answers, and what is said when it cannot be had."""

import json
import math
import shutil
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_rank import judges
from flame_rank.errors import UserError
from flame_rank.judges.base import Judge
from flame_rank.judges.function import FunctionJudge, from_probabilities
from flame_rank.judges.pool import SETTINGS, TOKENIZER, WEIGHTS, PoolJudge, Settings
from flame_rank.model import buckets
from flame_rank.records import Problem
from strategies.base import IntArray

Pairs = list[tuple[str, str]]


def both(n: int) -> IntArray:
    return np.array(list(permutations(range(n), 2)), np.int64).reshape(-1, 2)


# A function of the user's.

TWO = Problem(prompt="p", candidates=["a", "bbb"])
TWICE = np.array([[0, 1], [1, 0]])


def test_a_function_sees_prompt_and_texts() -> None:
    seen: list[tuple[str, Pairs]] = []

    def f(prompt: str, pairs: Pairs) -> list[float]:
        seen.append((prompt, pairs))
        return [1.5, -2]

    judge = FunctionJudge(f)
    assert isinstance(judge, Judge) and not judge.pointwise and not judge.pool_aware
    [answers] = judge.judge([(TWO, TWICE)])
    assert seen == [("p", [("a", "bbb"), ("bbb", "a")])]
    assert answers.dtype == np.float64 and answers.tolist() == [1.5, -2]
    assert judge.notes(TWO).failures == ()
    assert (judge.name, FunctionJudge(f, name="mine").name) == (f"function:{f.__qualname__}", "mine")


@pytest.mark.parametrize("answer", [[1, 2], (1.0, 2.0), np.array([1, 2]), np.array([1, 2], np.float16), [1, True + 1]])
def test_any_sequence_of_numbers_is_an_answer(answer: Any) -> None:
    [answers] = FunctionJudge(lambda prompt, pairs: answer).judge([(TWO, TWICE)])
    assert answers.tolist() == [1, 2]


def test_nan_and_infinity_are_handed_on() -> None:
    [answers] = FunctionJudge(lambda prompt, pairs: [math.nan, math.inf]).judge([(TWO, TWICE)])
    assert np.isnan(answers[0]) and answers[1] == math.inf


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([1.0], "ValueError: it returned shape (1,) for 2 pairs"),
        ([[1.0, 2.0]], "ValueError: it returned shape (1, 2) for 2 pairs"),
        (1.0, "ValueError: it returned shape () for 2 pairs"),
        (["A", "B"], "ValueError: could not convert string to float: 'A'"),
        ([[1.0], [1.0, 2.0]], "ValueError: setting an array element with a sequence"),
        (ZeroDivisionError("by the user"), "ZeroDivisionError: by the user"),
    ],
)
def test_what_fails_is_nan_with_its_reason(answer: Any, reason: str) -> None:
    def f(prompt: str, pairs: Pairs) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    judge, other = FunctionJudge(f, name="f"), Problem(prompt="p", candidates=["a", "b"])
    for _ in range(2):  # a reason is given once
        [answers] = judge.judge([(TWO, TWICE)])
        assert np.isnan(answers).all() and answers.shape == (2,)
    [failure] = judge.notes(TWO).failures
    assert failure.startswith(f"f: {reason}") and judge.notes(other).failures == ()


def test_one_problems_failure_is_not_anothers() -> None:
    def f(prompt: str, pairs: Pairs) -> list[float]:
        return [1 / len(prompt)] * len(pairs)

    nothing = Problem(prompt="", candidates=["a", "b"])
    first, failed, last = FunctionJudge(f).judge([(TWO, TWICE), (nothing, TWICE), (TWO, TWICE[:1])])
    assert first.tolist() == [1, 1] and np.isnan(failed).all() and last.tolist() == [1]


def test_ctrl_c_is_no_failure() -> None:
    def f(prompt: str, pairs: Pairs) -> list[float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FunctionJudge(f).judge([(TWO, TWICE)])


# Probabilities.


def log_odds_of(*probabilities: float) -> Sequence[float]:
    return list(from_probabilities(lambda prompt, pairs: list(probabilities))("p", []))


@given(p=st.floats(1e-12, 1 - 1e-12))
def test_probabilities_become_log_odds(p: float) -> None:
    [log_odds] = log_odds_of(p)
    assert 1 / (1 + math.exp(-log_odds)) == pytest.approx(p, rel=1e-9)


def test_the_ends_of_probability() -> None:
    zero, half, one, below, above, nan = log_odds_of(0, 0.5, 1, -0.1, 1.1, math.nan)
    assert half == 0 and zero == -one and 36 < one < 38
    assert all(map(math.isnan, [below, above, nan]))
    assert log_odds_of(1e-300)[0] == zero


def test_a_function_of_probabilities_keeps_its_name() -> None:
    def likelier(prompt: str, pairs: Pairs) -> list[float]:
        return [0.9 for _ in pairs]

    judge = FunctionJudge(from_probabilities(likelier))
    assert judge.name.endswith("likelier")
    assert judge.judge([(TWO, TWICE)])[0] == pytest.approx([math.log(9)] * 2)


# Judges by name.


def test_loads_a_function(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "judge_of_this_folder.py").write_text("def f(prompt, pairs): return [2.0] * len(pairs)\n")
    monkeypatch.chdir(tmp_path)
    judge = judges.load("judge_of_this_folder:f")
    assert judge.name == "judge_of_this_folder:f"
    assert judge.judge([(TWO, TWICE)])[0].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nothing", "neither 'default', a directory of weights, a .gguf file, nor MODULE:FUNCTION"),
        ("functions:", "neither 'default', a directory of weights, a .gguf file, nor MODULE:FUNCTION"),
        (":shorter", "neither 'default', a directory of weights, a .gguf file, nor MODULE:FUNCTION"),
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("functions:no_such_function", "has no attribute 'no_such_function'"),
        ("functions:constant", "it is a float, not a function"),
        (".functions:shorter", "relative import"),
        ("broken_judge:f", "SyntaxError"),
        ("failing_judge:f", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_judge_that_is_none(spec: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken_judge.py").write_text("def f(:\n")
    (tmp_path / "failing_judge.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError) as caught:
        judges.load(spec)
    assert str(caught.value).startswith(f"--judge {spec}: ") and message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def folder(tiny_judge_dir: Path, tmp_path: Path) -> Path:
    """A judge's directory that a test may spoil."""
    return Path(shutil.copytree(tiny_judge_dir, tmp_path / "judge"))


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        settings = json.loads((folder / SETTINGS).read_bytes())
        change(settings)
        (folder / SETTINGS).write_text(json.dumps(settings))

    return edit


def cut(name: str, length: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:length])


def without_line_breaks(folder: Path) -> None:
    text = (folder / TOKENIZER).read_text()
    (folder / TOKENIZER).write_text(text.replace('"[unused3]"', '"[used3]"'))


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda folder: [file.unlink() for file in folder.iterdir()], "neither config.json"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), WEIGHTS),
    "no tokenizer": (lambda folder: (folder / TOKENIZER).unlink(), TOKENIZER),
    "truncated weights": (cut(WEIGHTS, 5000), "not a whole safetensors file"),
    "truncated tokenizer": (cut(TOKENIZER, 50), TOKENIZER),
    "truncated settings": (cut(SETTINGS, 50), "truncated"),
    "settings that are no JSON": (lambda folder: (folder / SETTINGS).write_text("judge"), "malformed"),
    "unknown field": (edited(lambda s: s.update(strange=1)), "unknown field `strange`"),
    "missing field": (edited(lambda s: s.pop("max_length")), "missing required field `max_length`"),
    "field of another type": (edited(lambda s: s.update(max_prompt="many")), "max_prompt"),
    "unknown combination": (edited(lambda s: s["code"].update(strange=1)), "unknown field `strange`"),
    "a combination without votes": (edited(lambda s: s["prose"].pop("vote")), "missing required field `vote`"),
    "no combination for answers": (edited(lambda s: s.pop("answers")), "missing required field `answers`"),
    "another activation": (edited(lambda s: s["encoder"].update(hidden_act="gelu_new")), "gelu_new"),
    "another size": (edited(lambda s: s["encoder"].update(hidden_size=32)), "the configuration asks for"),
    "more layers": (edited(lambda s: s["encoder"].update(num_hidden_layers=3)), "no tensor encoder.layer.2"),
    "longer than positions": (edited(lambda s: s.update(max_length=129)), "max_position_embeddings"),
    "no room for a candidate": (edited(lambda s: s.update(max_prompt=96)), "max_prompt"),
    "a vocabulary without line breaks": (without_line_breaks, "[unused3]"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_directory_that_cannot_be_read(case: str, folder: Path) -> None:
    spoil, message = SPOILED[case]
    spoil(folder)
    with pytest.raises(UserError) as caught:
        judges.load(str(folder))
    assert str(folder) in str(caught.value) and message in str(caught.value) and "\n" not in str(caught.value)


# The judge with an encoder.

CODE = Problem(
    prompt="def add(a, b):\n",
    candidates=["    return a + b\n", "    return a - b\n", "    return b + a", "    return c", "    return a + b\n"],
)
ANSWERS = Problem(prompt="How many?", candidates=["2 + 3\nA: 5", "Five, I think,\nor six.", "5", "4"])
PROSE = Problem(prompt="Why is the sky blue?", candidates=["Because\nof the air.", "It is\nnot.", "", "Rayleigh " * 9])
LONG = Problem(prompt="which", candidates=["in " * 400, "the " * 60, "is " * 5, "in " * 400])


@pytest.fixture(scope="module")
def judge(tiny_judge_dir: Path) -> PoolJudge:
    return PoolJudge.load(tiny_judge_dir)


def table(judge: Judge, problem: Problem) -> Any:
    """Log-odds [n, n] of all pairs."""
    n = len(problem)
    [log_odds] = judge.judge([(problem, both(n))])
    answers = np.zeros((n, n))
    answers[tuple(both(n).T)] = log_odds
    return answers


def copy(problem: Problem) -> Problem:
    """The same, which no judge has seen."""
    return Problem(prompt=problem.prompt, candidates=problem.candidates)


@pytest.mark.parametrize("problem", [CODE, ANSWERS, PROSE, LONG], ids=["code", "answers", "prose", "long"])
def test_answers_are_differences(judge: PoolJudge, problem: Problem) -> None:
    assert isinstance(judge, Judge) and judge.pointwise and judge.pool_aware
    answers = table(judge, problem)
    assert np.isfinite(answers).all() and np.ptp(answers) > 0.1
    np.testing.assert_allclose(answers, -answers.T, atol=1e-12)
    np.testing.assert_allclose(answers, answers[:, :1] + answers[:1, :], atol=1e-9)  # i - j = (i - 0) + (0 - j)


def test_a_pool_is_of_the_kind_that_most_of_it_is(judge: PoolJudge) -> None:
    code, answers, prose = judge.evidence([CODE, ANSWERS, PROSE])
    assert [evidence.kind for evidence in (code, answers, prose)] == ["code", "answers", "prose"]
    assert answers.vote.tolist() == [0.5, 0, 0.5, 0.25]
    assert not code.vote.any() and not prose.vote.any()
    # A program that cannot be right, or is alone in its pool, is not yet a pool of programs; half of it is.
    assert code.valid.tolist() == [1, 1, 1, 0, 1]
    one, half = (Problem(prompt="def f(x):\n", candidates=["    return y", "5", "5", "    x"][k:]) for k in (0, 1))
    assert [evidence.kind for evidence in judge.evidence([half, one])] == ["answers", "code"]


@pytest.mark.parametrize("problem", [CODE, ANSWERS, PROSE], ids=["code", "answers", "prose"])
def test_each_kind_has_its_combination(problem: Problem, judge: PoolJudge, tiny_judge_dir: Path) -> None:
    settings = msgspec.json.decode((tiny_judge_dir / SETTINGS).read_bytes(), type=Settings)
    [seen] = judge.evidence([problem])
    weights = {"code": settings.code, "answers": settings.answers, "prose": settings.prose}[seen.kind]
    quality = (
        weights.encoder * seen.encoder
        + weights.overlap * seen.overlap
        + weights.cosine * seen.cosine
        + weights.vote * seen.vote
        - weights.invalid * (1 - seen.valid)
    )
    np.testing.assert_allclose(table(judge, problem), quality[:, None] - quality[None, :], atol=1e-5)


def test_two_candidates_are_the_encoders_matter(judge: PoolJudge, tiny_judge_dir: Path) -> None:
    settings = msgspec.json.decode((tiny_judge_dir / SETTINGS).read_bytes(), type=Settings)
    pair = Problem(prompt=PROSE.prompt, candidates=PROSE.candidates[:2])
    [seen] = judge.evidence([pair])
    assert seen.silent and settings.prose.pair != settings.prose.encoder
    nats = settings.prose.pair * (seen.encoder[0] - seen.encoder[1])
    assert table(judge, pair)[0, 1] == pytest.approx(nats, abs=1e-4)


def test_equal_texts_are_equally_good(judge: PoolJudge) -> None:
    assert table(judge, CODE)[0, 4] == 0 and table(judge, CODE)[0, 2] != 0


def test_the_order_of_the_pool_does_not_matter(judge: PoolJudge) -> None:
    order = np.array([3, 0, 4, 2, 1])
    shuffled = Problem(prompt=CODE.prompt, candidates=[CODE.candidates[i] for i in order])
    np.testing.assert_allclose(table(judge, shuffled), table(judge, CODE)[np.ix_(order, order)], atol=1e-5)


def test_other_problems_in_the_batch_do_not_matter(judge: PoolJudge) -> None:
    alone = [table(judge, copy(problem)) for problem in (CODE, PROSE, LONG)]
    several = [copy(problem) for problem in (LONG, CODE, PROSE, LONG, CODE)]
    answers = judge.judge([(problem, both(len(problem))) for problem in several])
    for k, of in enumerate([2, 0, 1, 2, 0]):
        pairs = both(len(several[k]))
        np.testing.assert_allclose(answers[k], alone[of][tuple(pairs.T)], atol=1e-5)


def test_the_rest_of_the_pool_does_matter(judge: PoolJudge) -> None:
    pair = Problem(prompt=CODE.prompt, candidates=CODE.candidates[:2])
    assert abs(table(judge, pair)[0, 1] - table(judge, CODE)[0, 1]) > 0.1


def test_what_has_been_read_is_not_read_again(judge: PoolJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = copy(CODE)
    first = judge.judge([(problem, both(5)[:3])])

    def refuse(*arguments: object) -> None:
        raise AssertionError("it reads a text again")

    monkeypatch.setattr(judge, "_encode", refuse)
    again, other = judge.judge([(problem, both(5)[:3]), (problem, both(5)[5:6])])
    np.testing.assert_array_equal(again, first[0])
    assert other.shape == (1,)
    assert judge.judge([]) == []


def test_every_distinct_text_is_read_once(judge: PoolJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    read = judge._read
    monkeypatch.setattr(judge, "_read", lambda asked: rows.append(len(asked)) or read(asked))
    judge.judge([(code := copy(CODE), both(5)), (copy(PROSE), both(4)), (code, both(5))])
    assert rows == [4 + 4]


def test_an_encoder_that_does_not_count_is_not_asked(tiny_judge_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stated = msgspec.json.decode((tiny_judge_dir / SETTINGS).read_bytes(), type=Settings)
    code = msgspec.structs.replace(stated.code, encoder=0.0, cosine=0.0)
    judge = PoolJudge.load(tiny_judge_dir, msgspec.structs.replace(stated, code=code))
    pair = Problem(prompt=CODE.prompt, candidates=CODE.candidates[:2])
    assert abs(table(judge, pair)[0, 1]) > 1e-3  # with two candidates only the encoder can tell
    [evidence] = judge.evidence([CODE])
    quality = evidence.quality(code)

    def refuse(*arguments: object) -> None:
        raise AssertionError("it reads a text")

    monkeypatch.setattr(judge, "_encode", refuse)
    np.testing.assert_allclose(table(judge, CODE), quality[:, None] - quality[None, :], atol=1e-12)
    # What nobody but the encoder cuts is whole; what is too long for the forms is not.
    long = Problem(prompt=CODE.prompt, candidates=[*CODE.candidates, "    x = 1\n" * 1000, "    x = 1\n" * 20_000])
    table(judge, long)
    assert judge.notes(long).truncated == 1


def test_programs_are_compiled_for_buckets_only(tiny_judge_dir: Path) -> None:
    judge = PoolJudge.load(tiny_judge_dir)
    words = ["in " * k + str(n) for n, k in enumerate([0, 3, 9, 20, 30, 45, 60, 75, 90, 200])]

    def run() -> None:
        for n in (1, 2, 3, 6, 10):
            problems = [Problem(prompt="p" * k, candidates=words[k:] + words[:n]) for k in (0, 4, 7)]
            judge.judge([(problem, both(2)) for problem in problems])

    run()
    compiled = judge._encode._cache_size()
    # 96 tokens are the most: rows are padded to 32, 64 or 96, in batches of 4 or 12.
    assert 1 < compiled <= len({buckets.length(t) for t in range(1, 97)}) * len(buckets.BATCHES) == 6
    run()
    assert judge._encode._cache_size() == compiled


def test_what_was_too_long_is_counted(judge: PoolJudge) -> None:
    long, short = copy(LONG), copy(PROSE)
    assert judge.notes(long).truncated == 0  # not yet read
    judge.judge([(long, both(4)), (short, both(4))])
    assert judge.notes(long).truncated == 2  # the same text twice: candidates are counted, not texts
    assert judge.notes(short).truncated == 0
    asked = Problem(prompt="which " * 100, candidates=PROSE.candidates)
    judge.judge([(asked, both(4))])
    assert judge.notes(asked).truncated == 4  # a prompt whose middle is lost is lost to all


@pytest.mark.parametrize("file", [WEIGHTS, SETTINGS, TOKENIZER])
def test_another_judge_has_another_name(file: str, judge: PoolJudge, folder: Path) -> None:
    assert PoolJudge.load(folder).name == judge.name
    content = bytearray((folder / file).read_bytes())
    if file == WEIGHTS:
        content[-1] ^= 1
    else:
        content += b" "
    (folder / file).write_bytes(content)
    assert PoolJudge.load(folder).name != judge.name
