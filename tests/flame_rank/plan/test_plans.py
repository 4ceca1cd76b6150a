"""What a run will take, against what runs take."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import VARIANTS, write_checkpoint
from click.testing import CliRunner
from tokenizers_tiny import CHATML, write_byte_bpe, write_sentencepiece

import flame_rank
import strategies
from flame_rank import Problem, UserError
from flame_rank.cli.plan import plan as command
from flame_rank.judges.language_model import LanguageModelJudge
from flame_rank.model.kernel import Kernel
from flame_rank.plan import plans, runs
from flame_rank.plan.lengths import Lengths
from flame_rank.plan.plans import Plan, Plans
from flame_rank.plan.plans import plan as make
from flame_rank.plan.probe import FEW, Probe, probe
from flame_rank.plan.rounds import calls
from flame_rank.ranking.reranker import Reranker
from strategies import Strategy, by_name
from strategies.base import FloatArray, IntArray

T5 = {"model_type": "t5", "d_model": 32, "d_ff": 48, "d_kv": 8, "num_layers": 1, "num_heads": 2}
WORDS = ["the", "sum", "of", "two", "numbers", "is", "what", "we", "look", "for", "in", "every", "list"]


def problems(count: int, seed: int = 0, words: int = 40) -> list[Problem]:
    """Problems of 1 to 6 candidates, some of them equal."""
    rng = np.random.default_rng(seed)

    def text() -> str:
        return " ".join(rng.choice(WORDS, rng.integers(1, words)))

    made = []
    for k in range(count):
        texts = [text() for _ in range(rng.integers(1, 7))]
        made.append(Problem(prompt=f"{k} {text()}", candidates=[*texts, *texts[: rng.integers(0, 2)]]))
    return made


class Counting:
    """Counts comparisons, by problem, while a run goes on and forgets what a probe asked."""

    name, pool_aware = "counting", False

    def __init__(self, pointwise: bool = False):
        self.pointwise, self.asked = pointwise, 0

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        self.asked += sum(len(pairs) for _, pairs in asked)
        return [np.array([float(i - j) / 3 for i, j in pairs]) for _, pairs in asked]


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


def folder(path: Path, family: str) -> Path:
    path.mkdir()
    size = write_sentencepiece(path, "t5") if family == "t5" else write_byte_bpe(path, template=CHATML)
    config = T5 if family == "t5" else {**VARIANTS[family], "num_hidden_layers": 1}
    write_checkpoint(path, {**config, "vocab_size": size})
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: folder(tmp_path_factory.mktemp("plan") / family, family) for family in ("qwen2", "t5")}


@pytest.fixture
def without_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "probe", lambda judge, sample: Probe())


def idle(path: Path, **options: Any) -> LanguageModelJudge:
    """A judge that packs and counts and computes nothing: all are tied."""
    judge = flame_rank.load_judge(path, **options)
    assert isinstance(judge, LanguageModelJudge)
    kernel: Any = judge.kernel
    if isinstance(kernel, Kernel):
        programs: Any = kernel._programs
        programs.extend = lambda cache, *arrays, S: cache
        programs.score = lambda cache, tokens, *arrays, S: np.zeros((len(tokens), 2))
    else:
        kernel._next = lambda params, tokens, *arrays: np.zeros((len(tokens), 2))
    return judge


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


def test_a_call_waits_until_it_is_full() -> None:
    sizes = [[3], [], [2], [3], [1]]
    assert calls(sizes, 5, last=False) == ([[0, 1]], 3)
    assert calls(sizes, 5, last=True) == ([[0, 1], [2, 3]], 5)
    assert calls(sizes[:3], 5, last=False) == ([[0, 1]], 3)
    assert calls([[3, 1], [3, 2, 1], [1]], 5, last=True) == ([[0, 2], [1, 3, 5], [4]], 3)
    assert calls([[]] * 4, 3, last=False) == ([], 3)
    assert calls([], 5, last=True) == ([], 0)


def test_a_probe_of_a_local_judge(folders: dict[str, Path]) -> None:
    sample = [(Problem(prompt="p", candidates=["a", "b", "c"]), np.arange(3))]
    timed = probe(flame_rank.load_judge(folders["qwen2"]), sample)
    assert timed.comparisons == 2 * 6 and timed.problem is None
    assert timed.seconds is not None and 0 < timed.seconds < timed.compiling
    t5 = idle(folders["t5"])
    probe(t5, sample)
    timed = probe(t5, sample)  # of shapes that are all known
    assert timed.comparisons == 2 * 6 and timed.seconds is not None and timed.seconds > 0 == timed.compiling


def test_too_long_is_counted_pair_by_pair() -> None:
    rng = np.random.default_rng(0)
    for n in range(1, 7):
        text = Lengths(prompt=5, candidates=rng.integers(0, 10, n))
        for room in range(5, 26):
            a = text.candidates
            expected = sum(5 + a[i] + a[j] > room for i in range(n) for j in range(n) if i != j)
            assert text.long(room) == expected


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


# The command.


def run(*arguments: object, given: str | None = None) -> tuple[str, str]:
    result = CliRunner().invoke(command, [*map(str, arguments)], input=given, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout, result.stderr


def lines(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


GOOD = {"prompt": "p", "candidates": ["ccc", "a", "bb", "a"]}


def test_a_table(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(lines(GOOD, GOOD))
    out, err = run(path, "--judge", "functions:shorter")
    head, *rows = out.splitlines()
    assert head.split() == ["strategy", "comparisons", "seconds"]
    assert [row.split()[0] for row in rows] == list(strategies.NAMES)
    assert next(row.split()[1] for row in rows if row.startswith("round-robin")) == "12"
    assert "2 problems, 8 candidates, 6 without repetitions" in err and "comparisons probed" in err


def test_json_from_standard_input() -> None:
    arguments = ("-", "--judge", "functions:shorter", "--json", "--strategy", "knockout", "--strategy", "round-robin")
    out, _ = run(*arguments, "--order", "fixed", given=lines(GOOD))
    knockout, every = map(json.loads, out.splitlines())
    assert (knockout["strategy"], knockout["least"], knockout["most"], knockout["tokens"]) == ("knockout", 2, 2, None)
    assert every["most"] == 3 and every["judge"] == "functions:shorter" and math.isfinite(every["seconds"])
    assert (every["problems"], every["candidates"], every["distinct"]) == (1, 4, 3)


def test_with_confidence_active_may_stop_early() -> None:
    many = {"prompt": "p", "candidates": [*"abcdefgh"]}
    arguments = ("--judge", "functions:shorter", "--strategy", "active")
    out, _ = run(*arguments, "--confidence", "0.9", given=lines(many))
    assert "at most" in out
    out, _ = run(*arguments, given=lines(many))
    assert "at most" not in out


@pytest.mark.parametrize("reads", [True, False])
def test_the_default_judge_is_pointwise(reads: bool, tiny_judge_dir: Path) -> None:
    out, err = run("--judge", tiny_judge_dir if reads else "agreement", given=lines(GOOD))
    assert out.splitlines()[1].split()[:2] == ["any", "2"] and "n - 1 comparisons" in err


def test_a_local_judge_has_tokens(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "probe", lambda judge, sample: Probe(comparisons=FEW, seconds=0.1, compiling=1.0))
    monkeypatch.setattr(runs, "SAMPLE", 2)
    given = lines(*({**GOOD, "prompt": "p" * k} for k in range(9)))
    out, err = run("--judge", folders["qwen2"], "--strategy", "round-robin", "--strategy", "knockout", given=given)
    head, every, knockout = out.splitlines()
    assert head.split() == ["strategy", "comparisons", "tokens", "programs", "seconds"]
    assert "at most" not in out and (every.count("about"), knockout.count("about")) == (1, 3)  # seconds; all else too
    assert "estimated from 2 of the problems" in err


def test_one_candidate_each_takes_nothing() -> None:
    single = {"prompt": "p", "candidates": ["a", "a"]}
    out, _ = run("--judge", "functions:shorter", "--json", given=lines(single))
    assert all(json.loads(line)["most"] == 0 == json.loads(line)["seconds"] for line in out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        ((), "", "no problem in it"),
        ((), lines(GOOD) + "{\n", "stdin:2: not JSON"),
        (("--judge", "nowhere"), lines(GOOD), "--judge nowhere"),
        (("--judge", "functions:shorter", "--max-length", "9"), lines(GOOD), "takes no max_length"),
        (("--strategy", "knockout", "--confidence", "0.9"), lines(GOOD), "for the strategy active, not knockout"),
        (
            (),
            lines({"prompt": "p", "candidates": [*map(str, range(10**5))]}),
            "stdin: round-robin may ask 9,999,900,000",
        ),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], given: str, said: str) -> None:
    judge = () if "--judge" in arguments else ("--judge", "functions:shorter")
    with pytest.raises(UserError) as error:
        run(*arguments, *judge, given=given)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_bad_lines_are_left_out_where_asked_to() -> None:
    out, err = run("--judge", "functions:shorter", "--json", "--on-bad-line", "skip", given="{\n" + lines(GOOD))
    assert json.loads(out.splitlines()[0])["problems"] == 1 and "stdin:1" in err


def test_the_command_is_light() -> None:
    code = "import flame_rank.cli.plan, sys; assert not {'numpy', 'jax', 'tqdm'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
