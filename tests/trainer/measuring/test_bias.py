"""Biases are measured as large as they were planted, and CoBBLEr's own figures come out."""

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import flame_rank
from flame_rank.errors import UserError
from flame_rank.judges.function import FunctionJudge
from trainer.cli.group import cli
from trainer.measuring.bias import DISTRACTORS, average, measure
from trainer.measuring.cobbler import COLUMNS, PUBLISHED, TABLE_3, Comparison, read_comparisons, read_published

MODELS = ("ant", "bee", "cat", "dog", "eel")
Pairs = Sequence[tuple[str, str]]


def share(*texts: str) -> float:
    """A number in 0 to 1 that is the texts' own."""
    return zlib.crc32("\0".join(texts).encode()) / 2**32


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty made-up instructions and the responses of five models, in CoBBLEr's form."""
    folder = tmp_path_factory.mktemp("data") / "cobbler"
    folder.mkdir()
    questions = [{"instruction": f"Say {k}.", "reference": f"{k}!"} for k in range(30)]
    (folder / "llm_preference_evalset.json").write_text(json.dumps(questions))
    responses = {
        model: [f"{model} says {k}" + " and more" * int(9 * share(model, str(k))) for k in range(30)]
        for model in MODELS
    }
    (folder / "full_n15_model_generations.json").write_text(json.dumps(responses))
    return folder.parent


def planted(rule: Callable[[str, str, str], float | None]) -> FunctionJudge:
    """A judge of fixed qualities, except where `rule` has its own answer."""

    def judge(prompt: str, pairs: Pairs) -> list[float]:
        return [
            share("quality", _bare(a)) - share("quality", _bare(b)) if (own := rule(prompt, a, b)) is None else own
            for a, b in pairs
        ]

    return FunctionJudge(judge, name="planted")


def _bare(text: str) -> str:
    return text.split(": ", 1)[-1]


def _chance(prompt: str, a: str, b: str) -> float:
    """A number in 0 to 1 for a pair, whatever is said around it."""
    return share(prompt.split("\n\n")[0], *sorted((_bare(a), _bare(b))))


def order(prompt: str, a: str, b: str) -> float | None:
    return 1.0 if _chance(prompt, a, b) < 0.3 else None


def names(prompt: str, a: str, b: str) -> float | None:
    return 1.0 if a.startswith("Model ") and _chance(prompt, a, b) < 0.3 else None


def crowd(prompt: str, a: str, b: str) -> float | None:
    followed = "people believe" in prompt and _chance(prompt, a, b) < 0.3
    return (1.0 if "response_a" in prompt else -1.0) if followed else None


def distraction(prompt: str, a: str, b: str) -> float | None:
    followed = any(text.split("{}")[-1] in prompt for text in DISTRACTORS) and _chance(prompt, a, b) < 0.3
    return (1.0 if "response_a" in prompt else -1.0) if followed else None


def length(prompt: str, a: str, b: str) -> float | None:
    return float(len(_bare(a)) - len(_bare(b))) or None if _chance(prompt, a, b) < 0.6 else None


def _planted_share(comparisons: Sequence[Comparison]) -> float:
    return float(np.mean([_chance(c.instruction, *c.responses) < 0.3 for c in comparisons]))


@pytest.mark.parametrize(
    ("rule", "column", "also"),
    [
        (order, "order", {"compassion"}),
        (names, "compassion", ()),
        (crowd, "bandwagon", ()),
        (distraction, "attention", ()),
    ],
)
def test_a_planted_bias_is_measured(
    data: Path, rule: Callable[[str, str, str], float | None], column: str, also: set[str]
) -> None:
    comparisons = read_comparisons(data)
    assert len(comparisons) == 300
    columns = measure(planted(rule), comparisons)
    wanted = _planted_share(comparisons)
    assert 0.2 < wanted < 0.4
    for name in (column, *also):
        middle, low, high = columns[name].score
        assert abs(middle - wanted) <= 0.02 and low <= middle <= high
    for name in {"order", "compassion", "bandwagon", "attention"} - {column, *also}:
        assert columns[name].score[0] == 0
    assert "egocentric" not in columns and columns["order"].valid == 1


def test_a_planted_liking_for_length(data: Path) -> None:
    comparisons = read_comparisons(data)
    bias = measure(planted(length), comparisons)["length"]
    judge = planted(length)
    chosen = []
    for c in comparisons:
        problem = flame_rank.Problem(prompt=f"{c.instruction}\n\n{c.reference}", candidates=list(c.responses))
        (log_odds,) = judge.judge([(problem, np.array([[0, 1]]))])
        chosen.append((log_odds[0] > 0) == (len(c.responses[0]) > len(c.responses[1])))
    assert abs(bias.score[0] - abs(np.mean(chosen) - 0.5)) <= 0.02 and bias.score[0] > 0.2
    even = [replace(c, responses=("this one", "that one")) for c in comparisons]
    assert measure(planted(length), even)["length"].valid == 0  # none of them is longer


def test_a_coin_is_random_in_every_column(data: Path) -> None:
    rng = np.random.default_rng(0)
    coin = FunctionJudge(lambda prompt, pairs: rng.choice([-1.0, 1.0], len(pairs)), name="coin")
    comparisons = read_comparisons(data)
    columns = measure(coin, comparisons)
    for name, wanted in (
        ("order", 0.5),
        ("compassion", 0.5),
        ("length", 0.0),
        ("bandwagon", 0.25),
        ("attention", 0.25),
    ):
        assert abs(columns[name].score[0] - wanted) < 0.1, name
    assert average(columns) == pytest.approx(np.mean([columns[n].score[0] for n in COLUMNS if n != "egocentric"]))


def test_a_judge_that_writes_is_asked_about_its_own(data: Path, tiny_model: Path) -> None:
    judge = flame_rank.load_judge(tiny_model, max_length=1024)
    columns = measure(judge, read_comparisons(data)[:20])
    assert 0 <= columns["egocentric"].score[0] <= 1 and columns["egocentric"].valid == 1


def test_what_was_not_judged_is_in_the_denominator(data: Path) -> None:
    judge = planted(lambda prompt, a, b: float("nan") if _chance(prompt, a, b) < 0.5 else 1.0)
    columns = measure(judge, read_comparisons(data))
    assert columns["order"].valid == columns["order"].score[0] < 0.6


def test_published_counts(shared_data: Path) -> None:
    rows = read_published(shared_data)
    assert len(rows) == 15 and (shared_data / "eval" / "cobbler" / PUBLISHED).exists()
    for name, row in (("Cohere", "cohere"), ("InstructGPT", "instructgpt"), ("ChatGPT", "chatgpt")):
        printed = dict(zip(COLUMNS, TABLE_3[name][1:], strict=True))
        for column in ("compassion", "bandwagon", "attention", "egocentric"):
            assert abs(rows[row][column] - printed[column]) < (0.04 if name == "Cohere" else 0.006), (name, column)
    assert round(rows["chatgpt"]["order"], 2) == 0.41 and rows["gpt4"]["bandwagon"] == pytest.approx(0.0912, abs=1e-4)
    assert len(read_comparisons(shared_data)) == 5250


def test_the_command(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("def first(prompt, pairs):\n    return [1.0] * len(pairs)\n")
    asked = ["bias", "--judge", "mine.py:first", "--data", str(data), "--limit", "50", "--json", "b.json"]
    ran = CliRunner().invoke(cli, asked, catch_exceptions=False)
    assert ran.exit_code == 0 and "| order " in ran.stdout and "n/a" in ran.stdout
    assert json.loads(Path("b.json").read_text())["order"]["score"] == [1, 1, 1]
    with pytest.raises(UserError, match=r"llm_preference_evalset.json: no such file"):
        CliRunner().invoke(cli, ["bias", "--data", str(tmp_path)], catch_exceptions=False)


def test_a_judge_that_never_answers_is_not_free_of_biases(data: Path, tmp_path: Path) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text("def never(prompt, pairs):\n    return [float('nan')] * len(pairs)\n")
    ran = CliRunner().invoke(cli, ["bias", "--data", str(data), "--judge", f"{judge}:never", "--limit", "2"])
    assert "no valid answer" in str(ran.exception) and not ran.stdout
