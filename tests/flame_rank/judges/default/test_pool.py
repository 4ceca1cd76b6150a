"""The default judge: what its qualities are made of, what the model reads of a pool, and what is said without one."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flame_rank
from flame_rank import judges
from flame_rank.candidates.code_views import LONGEST, read_candidate
from flame_rank.candidates.repetition import repeated
from flame_rank.errors import UserError
from flame_rank.judges import model_location
from flame_rank.judges.base import Judge
from flame_rank.judges.default import pool as pool_module
from flame_rank.judges.default.agreement import overlap
from flame_rank.judges.default.endings import unfinished
from flame_rank.judges.default.pool import (
    BREAKS_LIMIT,
    EVIDENCE,
    IMPOSSIBLE,
    READ_MOST,
    READING,
    UNFINISHED,
    JudgeSettings,
    PoolEvidence,
    PoolJudge,
    candidates_to_read,
    evidence_without_model,
    parts_to_read,
    read_judge_settings,
)
from flame_rank.judges.likelihood import Likelihoods
from flame_rank.records import Problem
from strategies.base import FloatArray

FEW_PROGRAMS = Problem(
    prompt="def add(a, b):\n",
    candidates=["    return a + b\n", "    return a - b\n", "    return b + a", "    return c\n", "    return a + b\n"],
)
BODIES = ["x + 7", "x - 7", "x * 7", "x / 7", "x ^ 7", "(x % 7) + x"]
PROGRAMS = Problem(prompt="def f(x):\n", candidates=[f"    return {body}\n" for body in BODIES])
ANSWERS = Problem(prompt="How many?", candidates=["2 + 3\nA: 5", "Five, I think,\nor six.", "5", "4"])
TEXTS = Problem(
    prompt="Name a city in France.",
    candidates=[
        *("Paris is one of them, and Lyon is another.", "I'm sorry, but I can't help with that."),
        *("Marseille is a city in France, on the sea.", "Berlin"),
        *("It is the one city of them all that lies on the", "lorem ipsum dolor sit amet consectetur"),
        "Marseille is a city in France, on the sea.",
    ],
)
KINDS = {"few programs": FEW_PROGRAMS, "programs": PROGRAMS, "answers": ANSWERS, "texts": TEXTS}
each_kind = pytest.mark.parametrize("kind", KINDS)

# Of every kind of evidence another weight, so that one in place of another shows.
WEIGHTS = {name: round(0.3 + 0.17 * k, 2) for k, name in enumerate(EVIDENCE)}
WEIGHTS |= {"repeated": -0.7, "refuses": -1.1, "total": 0.02}


def stated(reading: Mapping[str, float] = WEIGHTS, alone: Mapping[str, float] | None = None) -> JudgeSettings:
    without = {name: weight for name, weight in WEIGHTS.items() if name not in READING}
    every: tuple[Any, ...] = tuple(KINDS)
    return JudgeSettings(
        model=None,
        max_length=64,
        reading={kind: dict(reading) for kind in every},
        alone={kind: dict(without if alone is None else alone) for kind in every},
    )


def liking(text: str) -> list[float]:
    """What the reader below finds of a text: forward, gain, tokens, ending, reverse."""
    forward, gain, ending, reverse = (-(sum(text.encode()) * k % 97) / 50 for k in (3, 5, 11, 13))
    return [forward, gain, 200.0 if len(text) > 20 else 4.0, ending, reverse]


def counting(text: str) -> list[float]:
    """What of it counts: forward, gain, total, ending, reverse."""
    forward, gain, tokens, ending, reverse = liking(text)
    return [forward, gain * tokens / (tokens + 3), min(max(gain * tokens, -120), 120), ending, reverse]


class FakeReader:
    """Stands for a language model, and keeps what it was given to read: the texts of each problem, and the parts."""

    name = "fake"

    def __init__(self) -> None:
        self.texts: list[list[str]] = []
        self.parts: list[frozenset[str]] = []

    def read(
        self, asked: Sequence[tuple[Problem, Sequence[int]]], parts: frozenset[str] = frozenset()
    ) -> list[Likelihoods]:
        found = []
        for problem, indices in asked:
            texts = [problem.texts[i] for i in indices]
            self.texts.append(texts)
            self.parts.append(parts)
            columns = np.array([liking(text) for text in texts]).reshape(-1, 5).T
            names = ("forward", "gain", "tokens", "ending", "reverse")
            cut = np.array([len(text) > 60 for text in texts], bool)
            found.append(Likelihoods(**dict(zip(names, columns, strict=True)), refusal=1.5, cut=cut))
        return found


def pool(settings: JudgeSettings | None = None) -> tuple[PoolJudge, FakeReader]:
    reader: Any = FakeReader()
    return PoolJudge(settings or stated(), reader), reader


def qualities(judge: Judge, problem: Problem) -> FloatArray:
    """How much better each candidate is than the first [n]."""
    n = len(problem)
    [log_odds] = judge.judge([(problem, np.array([(i, 0) for i in range(n)], np.int64).reshape(-1, 2))])
    return log_odds


def copy(problem: Problem) -> Problem:
    """The same, which no judge has seen."""
    return Problem(prompt=problem.prompt, candidates=problem.candidates)


# ---- The qualities ----


@each_kind
def test_answers_are_differences(kind: str) -> None:
    judge, problem = pool()[0], KINDS[kind]
    assert isinstance(judge, Judge) and judge.pointwise and judge.pool_aware
    pairs = np.array(list(permutations(range(len(problem)), 2)))
    [log_odds] = judge.judge([(problem, pairs)])
    quality = qualities(judge, problem)
    np.testing.assert_allclose(log_odds, quality[pairs[:, 0]] - quality[pairs[:, 1]], atol=1e-9)
    assert np.ptp(log_odds) > 0.1


@each_kind
def test_qualities_are_those_of_the_weights(kind: str) -> None:
    problem, (judge, reader) = KINDS[kind], pool()
    quality = qualities(judge, problem)
    texts = problem.texts
    sound = [text not in ("    return c\n", "lorem ipsum dolor sit amet consectetur") for text in texts]
    expected = WEIGHTS["overlap"] * overlap([read_candidate(problem.prompt, text) for text in texts])
    if kind == "answers":
        expected += WEIGHTS["vote"] * np.array([0.5, 0.0, 0.5, 0.25])
    if "programs" not in kind:
        expected -= UNFINISHED * unfinished(texts)
        expected += WEIGHTS["repeated"] * np.array([repeated(text) for text in texts])
        declines = np.array([text.startswith("I'm sorry") for text in texts])
        expected += declines * (WEIGHTS["refuses"] + WEIGHTS["refusal"] * 1.5)
    [seen] = reader.texts
    least = np.min([counting(text) for text in seen], 0)
    found = np.array([counting(text) if text in seen else least for text in texts])
    expected += found @ [WEIGHTS[name] for name in ("forward", "gain", "total", "ending", "reverse")]
    expected -= IMPOSSIBLE * ~np.array(sound)
    np.testing.assert_allclose(quality, expected - expected[0], atol=1e-9)
    assert sorted(seen) == sorted({text for text, can in zip(texts, sound, strict=True) if can})  # each of them once


def test_a_limit_of_the_prompt_counts_for_texts_only() -> None:
    def penalty(prompt: str, *candidates: str) -> list[float]:
        penalty = evidence_without_model(Problem(prompt=prompt, candidates=list(candidates))).penalty
        return [float(nats) for nats in penalty]

    asked = "Use at most three words."
    assert penalty(f"Which pet barks? {asked}", "A dog.", "It is a dog that barks.") == [0, BREAKS_LIMIT]
    assert penalty(f"What is 2 + 3? {asked}", "6", "2 + 3 = 5. The answer is 5.", "The answer is 5.") == [0, 0, 0]
    programs = "def f(a):\n    return a + 1\n", "def f(a):\n    return 1 + a\n"
    assert penalty(f"Write a Python function that adds one. {asked}", *programs) == [0, 0]


def test_programs_in_any_language_are_programs() -> None:
    def seen(prompt: str, *candidates: str) -> PoolEvidence:
        return evidence_without_model(Problem(prompt=prompt, candidates=list(candidates)))

    bodies = [f"  return a + {i};" for i in range(6)]
    texts = [f"int f(int a) {{\n{body}\n}}" for body in bodies]
    prompt = "Write a C function that adds two."
    assert seen(prompt, *texts).kind == "programs"
    few = seen(prompt, *texts[:2], "Add two to it.")
    assert few.kind == "few programs" and not any(few.values["repeated"])
    assert seen(prompt, *texts[:2], "Add two.", "Add 2 to it.").kind == "texts", "half of them are not most"
    assert seen("Write JSON.", *[f'{{"name": "Ann", "old": {i}}}' for i in range(3)]).kind == "texts"


@each_kind
def test_a_pool_is_of_the_kind_that_most_of_it_is(kind: str) -> None:
    assert evidence_without_model(KINDS[kind]).kind == kind


def test_half_a_pool_of_programs_is_one() -> None:
    mixed = ["    return y", "5", "5", "    x"]
    one, half = (evidence_without_model(Problem(prompt="def f(x):\n", candidates=mixed[k:])) for k in (0, 1))
    assert (one.kind, half.kind) == ("few programs", "answers")


def test_few_programs_are_those_that_can_be_right() -> None:
    four = [f"    return x + {k}\n" for k in range(4)]
    repeated_four = Problem(prompt="def f(x):\n", candidates=[*four, *four, "    return y\n"])
    assert evidence_without_model(repeated_four).kind == "few programs"
    assert (
        evidence_without_model(Problem(prompt="def f(x):\n", candidates=[*four, "    return x\n"])).kind == "programs"
    )


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("def f(x):\n", "    return y\n"),
        ("Why is the sky blue?", ""),
        ("What is 17 * 3?", "17 * 3 is 54."),
        ("Name a city in France.", "That is 2 + 2 = 5 of them."),
    ],
)
def test_what_cannot_be_right(prompt: str, text: str) -> None:
    """By its form, by what it says, by what it calculates."""
    good = "    return x\n" if prompt.startswith("def") else "It is 51, and that is blue as Paris."
    seen = evidence_without_model(Problem(prompt=prompt, candidates=[good, text]))
    assert seen.sound.tolist() == [True, False]


pieces = st.lists(st.sampled_from([*TEXTS.texts, *ANSWERS.texts, "", "a b c. " * 30]), min_size=2, max_size=9)
bodies = st.lists(st.sampled_from([*FEW_PROGRAMS.texts, *(f"    return a * {k}\n" for k in range(6))]), min_size=2)
pools = st.one_of(
    st.builds(lambda texts: Problem(prompt="How many?", candidates=texts), pieces),
    st.builds(lambda texts: Problem(prompt=FEW_PROGRAMS.prompt, candidates=texts), bodies),
)


@settings(deadline=None, max_examples=60)
@given(problem=pools, data=st.data())
def test_the_order_of_candidates_does_not_matter(problem: Problem, data: st.DataObject) -> None:
    order = np.array(data.draw(st.permutations(range(len(problem)))))
    shuffled = Problem(prompt=problem.prompt, candidates=[problem.candidates[i] for i in order])
    quality, other = qualities(pool()[0], problem), qualities(pool()[0], shuffled)
    np.testing.assert_allclose(other, quality[order] - quality[order[0]], atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(problem=pools)
def test_equal_texts_are_equally_good(problem: Problem) -> None:
    quality = qualities(pool()[0], problem)
    for text in problem.texts:
        assert np.ptp(quality[[other == text for other in problem.texts]]) == 0


@pytest.mark.parametrize("reads", [True, False])
@settings(deadline=None, max_examples=60)
@given(problem=pools)
def test_what_cannot_be_right_stands_last(reads: bool, problem: Problem) -> None:
    shipped = read_judge_settings(Path(judges.__file__).parent / "default")
    judge = PoolJudge(shipped, FakeReader() if reads else None)  # type: ignore[arg-type]
    sound, quality = evidence_without_model(problem).sound, qualities(judge, problem)
    if sound.any() and not sound.all():
        assert quality[sound].min() > quality[~sound].max()


@pytest.mark.parametrize(
    ("prompt", "texts", "more"),
    [
        ("def f(x):\n", ["    return x + 1\n", "    return 2 * x\n", "    y = x\n    return y\n"], 1),
        ("How many?", ["A: 4", "A: 4", "A: 5", "A: 5"], 3),
    ],
)
def test_what_is_there_more_often_is_better(prompt: str, texts: list[str], more: int) -> None:
    judge = PoolJudge(stated(alone={"overlap": 2.0, "vote": 2.0}), None)
    once = qualities(judge, Problem(prompt=prompt, candidates=texts))
    often = qualities(judge, Problem(prompt=prompt, candidates=[*texts, *[texts[more]] * 4]))
    assert often[more] > once[more] + 0.1


def test_the_rest_of_a_batch_does_not_matter() -> None:
    alone = {kind: qualities(pool()[0], copy(problem)) for kind, problem in KINDS.items()}
    several = [copy(KINDS[kind]) for kind in (*KINDS, *KINDS)]
    pairs = [np.array([(i, 0) for i in range(len(problem))]) for problem in several]
    found = pool()[0].judge(list(zip(several, pairs, strict=True)))
    for kind, answers in zip((*KINDS, *KINDS), found, strict=True):
        np.testing.assert_array_equal(answers, alone[kind])
    assert pool()[0].judge([]) == []


# ---- What the model reads ----


def test_what_has_been_read_is_not_read_again() -> None:
    (judge, reader), problem = pool(), copy(TEXTS)
    first = judge.judge([(problem, np.array([[0, 1]]))])
    again, other = judge.judge([(problem, np.array([[0, 1]])), (problem, np.array([[2, 3], [3, 2]]))])
    np.testing.assert_array_equal(again, first[0])
    assert other.shape == (2,) and len(reader.texts) == 1


def many(count: int) -> Problem:
    """Answers of which the later ones have fewer votes."""
    texts = [f"Answer number {k} is:\nA: {k}" for k in range(count)]
    return Problem(prompt="How many?", candidates=[text for k, text in enumerate(texts) for _ in range(count - k)])


def test_only_so_many_are_read_and_the_others_stand_behind() -> None:
    problem, (judge, reader) = many(READ_MOST + 4), pool()
    distinct = list(dict.fromkeys(problem.texts))
    quality = qualities(judge, problem)
    [seen] = reader.texts
    assert sorted(seen) == sorted(distinct[:READ_MOST]) and READ_MOST == 16
    of = dict(zip(problem.texts, quality, strict=True))
    assert min(of[text] for text in distinct[:READ_MOST]) > max(of[text] for text in distinct[READ_MOST:])
    unread = [of[text] for text in distinct[READ_MOST:]]
    assert unread == sorted(unread, reverse=True) and len(set(unread)) == 4
    judge, reader = pool()
    qualities(judge, many(READ_MOST))
    assert len(reader.texts[0]) == READ_MOST


def test_a_single_candidate_that_can_be_right_is_not_read() -> None:
    judge, reader = pool()
    for texts in (["Paris.", ""], ["Paris.", "Paris.", "lorem ipsum dolor sit amet"], ["Paris."], ["", ""]):
        quality = qualities(judge, Problem(prompt="Name a city in France.", candidates=texts))
        assert quality[0] == quality.max()
    assert not any(reader.texts)


@pytest.mark.parametrize("ordered", [True, False])
def test_rankings_that_need_no_reading_do_not_wait(ordered: bool) -> None:
    judge, reader = pool()
    unread = {"prompt": "Name a city in France.", "candidates": ["", "Paris."]}
    read = {"prompt": "Name a city in France.", "candidates": ["Lyon.", "Paris."]}
    rankings = flame_rank.Reranker(judge, ordered=ordered).rank_many([unread, read, unread, read])
    for reads in [0, 2, 2, 2] if ordered else [0, 0, 2, 2]:
        next(rankings)
        assert len(reader.texts) == reads
    assert not list(rankings) and len(reader.texts) == 2
    whole = [flame_rank.Reranker(pool()[0]).rank(problem) for problem in (unread, read)]
    both = list(flame_rank.Reranker(pool()[0]).rank_many([unread, read]))
    assert [ranking.scores.tolist() for ranking in both] == [ranking.scores.tolist() for ranking in whole]


def test_where_none_can_be_right_all_are_read() -> None:
    judge, reader = pool()
    texts = ["    return y\n", "    return z\n", "    return y\n"]
    qualities(judge, Problem(prompt="def f(x):\n", candidates=texts))
    assert reader.texts == [texts[:2]]


def test_where_none_can_be_right_the_best_is_unsure() -> None:
    prompt, wrong = "What is 17 + 26?", ["The answer is 31.", "17 + 26 = 34", "17 + 26 = 33, I think."]
    for texts, unsure in ((wrong, True), ([*wrong, "17 + 26 = 43"], False)):
        ranking = flame_rank.Reranker(pool()[0]).rank(prompt, texts)
        assert ranking.unsure is unsure and len({*ranking.p_best.tolist()}) == len(texts)


@each_kind
def test_the_model_reads_what_the_weights_of_the_kind_ask_for(kind: str) -> None:
    for weights, parts in (
        ({"forward": 1.0, "overlap": 2.0}, {"forward"}),
        ({"gain": 1.0}, {"forward", "alone"}),
        ({"reverse": 1.0, "forward": 0.0}, {"reverse"}),
        ({"refusal": 1.0, "ending": 0.5}, {"refusal", "forward"}),
    ):
        judge, reader = pool(stated(reading=weights))
        qualities(judge, KINDS[kind])
        assert reader.parts == [parts_to_read(weights)] == [parts]
        judge.evidence([KINDS[kind]], parts=frozenset({"reverse"}))
        assert reader.parts[1:] == [{"reverse"}]
    judge, reader = pool(stated(reading={"overlap": 1.0, "forward": 0.0}))
    assert np.ptp(qualities(judge, KINDS[kind])) > 0 and reader.texts == []


def test_kinds_in_one_batch_are_read_for_their_own_weights() -> None:
    weights: dict[Any, dict[str, float]] = {
        **{"programs": {"overlap": 1.0}, "few programs": {"forward": 1.0}},
        **{"answers": {"reverse": 1.0}, "texts": {"forward": 2.0}},
    }
    judge, reader = pool(JudgeSettings(model=None, max_length=64, reading=weights, alone=weights))
    found = judge.evidence([KINDS[kind] for kind in KINDS])
    assert [evidence.kind for evidence in found] == list(KINDS)
    assert sorted(map(sorted, reader.parts)) == [["forward"], ["forward"], ["reverse"]]
    assert not found[1].values["forward"].any() and found[2].values["reverse"].any()


def test_a_refusal_is_worth_what_the_prompt_makes_of_it() -> None:
    judge, _ = pool(stated(reading={"refuses": -1.0, "refusal": 2.0}))
    quality = qualities(judge, TEXTS)
    assert quality[1] == pytest.approx(-1.0 + 2.0 * 1.5) and quality[2] == quality[3] == 0


def test_what_was_too_long_is_counted() -> None:
    judge, _ = pool()
    one = "It is a long way to the sea, and so we went by train, in the morning."
    two = "The walk takes two days from here; you can sleep in a hut, or in a tent."
    long = Problem(prompt="How long is it?", candidates=[one, "It is short, I think.", two])
    assert judge.notes(long).truncated == 0  # not yet read
    short = copy(TEXTS)
    judge.judge([(long, np.array([[0, 1]])), (short, np.array([[0, 1]]))])
    assert judge.notes(long).truncated == 2 and judge.notes(short).truncated == 0
    alone = PoolJudge(stated(), None)
    words = "word " * (LONGEST // 4)  # twice
    longer = Problem(prompt="How long?", candidates=[words, "Short.", words])
    alone.judge([(long, np.array([[0, 1]])), (longer, np.array([[0, 1]]))])
    assert alone.notes(long).truncated == 0 and alone.notes(longer).truncated == 2


# ---- The judge that ships, with and without a model ----


def test_the_names_say_what_shapes_the_answers(tiny_judge_dir: Path) -> None:
    settings = read_judge_settings(tiny_judge_dir)
    reader: Any = FakeReader()
    with_reader, alone = PoolJudge(settings, reader), PoolJudge(settings, None)
    assert with_reader.name.startswith("default:") and with_reader.name.endswith(":fake")
    assert alone.name.endswith(":agreement")
    other = msgspec.structs.replace(settings, reading={**settings.reading, "texts": {"forward": 9.0}})
    assert PoolJudge(other, reader).name != with_reader.name
    assert PoolJudge(other, None).name == alone.name  # its weights are the same
    assert PoolJudge.load(tiny_judge_dir).name == alone.name


def test_a_changed_rule_changes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = PoolJudge(stated(), None).name
    copies = tuple(Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in pool_module.RULES)
    monkeypatch.setattr(pool_module, "RULES", copies)
    assert PoolJudge(stated(), None).name == before  # the place does not count
    pool_module.rules_digest.cache_clear()
    for folder in copies:
        named = PoolJudge(stated(), None).name
        rule = next(folder.glob("*s.py"))
        rule.write_text(rule.read_text() + "MOST = 1\n")
        pool_module.rules_digest.cache_clear()
        assert PoolJudge(stated(), None).name != named


def test_the_models_identity_is_in_the_name(
    tiny_judge_dir: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from flame_rank.judges.checkpoint import load_reader

    judge = judges.load(tiny_judge_dir)
    reader = load_reader(tiny_model, max_length=128)
    assert judge.name.endswith(f":{reader.name}") and reader.name.startswith("llama:")
    assert judges.load(tiny_judge_dir, max_length=96).name != judge.name  # it reads less
    assert judges.load(tiny_judge_dir, template="plain").name != judge.name
    assert judges.load(tiny_judge_dir).name == judge.name
    assert capsys.readouterr().err == ""


@each_kind
def test_reads_with_a_model(kind: str, tiny_judge_dir: Path, tiny_model: Path) -> None:
    from flame_rank.judges.checkpoint import load_reader

    judge, problem = judges.load(tiny_judge_dir), KINDS[kind]
    assert isinstance(judge, PoolJudge)
    weights = read_judge_settings(tiny_judge_dir).reading[kind]  # type: ignore[index]
    seen = evidence_without_model(problem)
    expected = seen.quality(dict.fromkeys(EVIDENCE, 0.0))
    expected = expected + sum(weights.get(name, 0.0) * seen.values[name] for name in EVIDENCE)
    first = {text: i for i, text in reversed(list(enumerate(problem.texts))) if seen.sound[i]}
    [likely] = load_reader(tiny_model, max_length=128).read([(problem, list(first.values()))])
    found = {name: getattr(likely, name) for name in ("forward", "ending", "reverse")}
    found["total"] = likely.gain * likely.tokens
    found["gain"] = found["total"] / (likely.tokens + 3)
    found["refusal"] = seen.values["refuses"][list(first.values())] * likely.refusal
    for name in READING:
        values = dict(zip(first, found[name], strict=True))
        expected = expected + weights.get(name, 0.0) * np.array(
            [values.get(text, min(values.values())) for text in problem.texts]
        )
    np.testing.assert_allclose(qualities(judge, problem), expected - expected[0], atol=1e-4)


def test_without_a_model_it_is_agreement_and_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    judge = judges.load_default()
    assert isinstance(judge, PoolJudge) and judge.reader is None
    reranker = flame_rank.Reranker(judge)
    rankings = [reranker.rank(copy(problem)) for problem in KINDS.values()]
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("flame-rank: SmolLM2-135M-Instruct is not here (")
    assert "agree" in err and "pip install" in err
    quiet = judges.load("agreement")
    assert capsys.readouterr().err == "" and quiet.name == judge.name and judge.name.endswith(":agreement")
    for problem, ranking in zip(KINDS.values(), rankings, strict=True):
        np.testing.assert_array_equal(qualities(quiet, copy(problem)), qualities(judge, copy(problem)))
        assert sorted(ranking.order) == list(range(len(problem)))
    assert rankings[0].order[-1] == 3 and set(rankings[0].order[:2]) == {0, 4}


def test_the_model_may_be_named(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(model_location.VARIABLE, str(tiny_model))
    judge = judges.load_default()
    assert isinstance(judge, PoolJudge) and judge.reader is not None and ":llama:" in judge.name
    assert judge.reader.kernel.max_length == judge.settings.max_length
    assert capsys.readouterr().err == ""
    monkeypatch.setenv(model_location.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"FLAME_RANK_MODEL=.*none: there is no such file or folder$"):
        judges.load_default()
    monkeypatch.setenv(model_location.VARIABLE, str(tmp_path))
    with pytest.raises(UserError, match=r"the model in .* cannot be read") as caught:
        judges.load_default()
    assert "\n" not in str(caught.value)


def test_a_judge_of_the_users_needs_its_model(tiny_judge_dir: Path, tmp_path: Path) -> None:
    settings = json.loads((tiny_judge_dir / "judge.json").read_bytes())
    settings["model"]["path"] = str(tmp_path / "gone")
    (tmp_path / "judge.json").write_text(json.dumps(settings))
    with pytest.raises(
        UserError, match=r"reads candidates with tiny, but .*gone is not there; .* FLAME_RANK_MODEL"
    ) as caught:
        judges.load(tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    settings["model"] = None  # learned without one
    (tmp_path / "judge.json").write_text(json.dumps(settings))
    judge = judges.load(tmp_path)
    assert isinstance(judge, PoolJudge) and judge.reader is None


def test_options_that_do_not_fit(tiny_judge_dir: Path) -> None:
    with pytest.raises(UserError, match="--judge agreement takes no max_length"):
        judges.load("agreement", max_length=50)
    with pytest.raises(UserError, match="--judge default takes no ask, criteria"):
        judges.load("default", ask="likelihood", criteria="Be kind.")
    with pytest.raises(UserError, match="takes no on_long"):
        judges.load(tiny_judge_dir, on_long="skip")
    with pytest.raises(UserError, match="max_length 9 leaves no room to read candidates; raise it"):
        judges.load(tiny_judge_dir, max_length=9)


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def edit(path: Path) -> None:
        settings = json.loads(path.read_bytes())
        change(settings)
        path.write_text(json.dumps(settings))

    return edit


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: path.unlink(), "neither config.json (Hugging Face) nor judge.json is there"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:50]), "truncated"),
    "no JSON": (lambda path: path.write_text("judge"), "malformed"),
    "not UTF-8": (lambda path: path.write_bytes(path.read_bytes().replace(b"tiny", b"\xff", 1)), "not whole JSON"),
    "an unknown field": (edited(lambda s: s.update(strange=1)), "unknown field `strange`"),
    "a missing field": (edited(lambda s: s.pop("max_length")), "missing required field `max_length`"),
    "a field of another type": (edited(lambda s: s.update(max_length="many")), "max_length"),
    "an unknown field of the model": (edited(lambda s: s["model"].update(strange=1)), "unknown field `strange`"),
    "an unknown kind": (edited(lambda s: s["reading"].update(poems={})), "poems"),
    "a kind without weights": (edited(lambda s: s["alone"].pop("answers")), "no weights for answers"),
    "unknown evidence": (edited(lambda s: s["reading"]["texts"].update(length=1)), "unknown evidence length"),
    "a weight that is no number": (edited(lambda s: s["alone"]["texts"].update(overlap="much")), "Expected `float`"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_directory_that_cannot_be_read(case: str, tiny_judge_dir: Path, tmp_path: Path) -> None:
    spoil, message = SPOILED[case]
    path = tmp_path / "judge.json"
    path.write_bytes((tiny_judge_dir / "judge.json").read_bytes())
    spoil(path)
    with pytest.raises(UserError) as caught:
        judges.load(str(tmp_path))
    assert str(tmp_path) in str(caught.value) and message in str(caught.value) and "\n" not in str(caught.value)


def test_a_judge_by_name_is_loaded_once(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flame_rank.judges.checkpoint import load_reader

    loaded: list[Path] = []

    def counted(path: Path, **options: Any) -> Any:
        loaded.append(path)
        return load_reader(path, **options)

    monkeypatch.setattr("flame_rank.judges.checkpoint.load_reader", counted)
    monkeypatch.setenv(model_location.VARIABLE, str(tiny_model))
    for _ in range(3):
        flame_rank.rerank("Name a city.", ["Rome", "a city"])
    assert loaded == [tiny_model]
    flame_rank.rerank("Name a city.", ["Rome", "a city"], judge="agreement")
    flame_rank.rerank("Name a city.", ["Rome", "a city"], judge="default")
    assert loaded == [tiny_model] * 2


@given(st.permutations(range(READ_MOST + 4)))
def test_which_of_many_are_read_does_not_hang_on_their_order(order: list[int]) -> None:
    texts = [f"It is number {i}, I think." for i in range(READ_MOST + 4)]

    def chosen(some: list[str]) -> set[str]:
        problem = Problem(prompt="Which number is it?", candidates=some)
        return {some[i] for i in candidates_to_read(problem, evidence_without_model(problem), {})}

    assert chosen(texts) == chosen([texts[i] for i in order])
