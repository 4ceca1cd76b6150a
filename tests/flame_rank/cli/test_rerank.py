"""The command `flame-rank rerank`: judges, strategies and mistakes in the arguments."""

from pathlib import Path

import pytest
from commands import GOOD, Run, write

# What comes out.


def test_ranks_and_sums_up(rerank: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "f", GOOD | {"id": 7}, {"prompt": "q", "samples": [{"text": "a"}, {"text": "bb"}]})
    done = rerank(file)
    first, second = done.records
    assert done.status == 0
    assert {"id": 7, "ranking": [1, 2, 0], "best": 1, "comparisons": 6, "judge": "functions:shorter"}.items() <= (
        first.items()
    )
    assert second["ranking"] == [0, 1] and second["samples"][1] == {"text": "bb"}
    sure = (max(first["p_best"]) + max(second["p_best"])) / 2
    said = f"2 problems, 5 candidates, 8 comparisons (4.0 a problem); P(best) {sure:.2f} on average\n"
    assert done.err == said  # and no progress: it is no terminal


def test_the_same_bytes_again(rerank: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "f", *[GOOD | {"id": k} for k in range(5)])
    assert rerank(file, "--seed", 1).out == rerank(file, "--seed", 1).out != b""


def test_the_judge_with_a_model(rerank: Run, tmp_path: Path, tiny_judge_dir: Path) -> None:
    long = " and ".join(f"response {k}" for k in range(90))
    file = write(tmp_path / "f", GOOD, {"prompt": "p", "candidates": [f"It is {long}.", "It is better.", "It is bad."]})
    done = rerank(file, "--judge", tiny_judge_dir)
    first, second = done.records
    assert done.status == 0 and sorted(first["ranking"]) == [0, 1, 2]
    assert first["strategy"] == "pointwise" and first["comparisons"] == 2 and first["judge"].startswith("default:")
    assert second["truncated"] == 1 and "1 candidate too long and cut" in done.err
    assert done.err.count("\n") == 1  # the model is there, and nothing is said of it


def test_the_default_judge_without_a_model(rerank: Run, tmp_path: Path) -> None:
    texts = [f"    return {text}\n" for text in ("a + b", "a + c", "a - b", "b + a", "a + b")]
    file = write(tmp_path / "f", *[{"prompt": "def add(a, b):\n", "candidates": texts}] * 3)
    done = rerank(file, "--judge", "default")
    assert done.status == 0 and [record["best"] for record in done.records] == [0, 0, 0]
    assert {record["ranking"][-1] for record in done.records} == {1}  # it is a NameError
    told, summary = done.err.splitlines()  # once, for all problems
    assert told.startswith("flame-rank: SmolLM2-135M-Instruct is not here") and summary.startswith("3 problems")
    assert rerank(tmp_path / "f", "--judge", "agreement").out == done.out


def test_a_model_that_is_not_there(rerank: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAME_RANK_MODEL", str(tmp_path / "none.gguf"))
    done = rerank(write(tmp_path / "f", GOOD), "--judge", "default", "-o", tmp_path / "out")
    done.mistake("FLAME_RANK_MODEL", "none.gguf", "there is no such file or folder")
    assert done.err.count("\n") == 1 and not (tmp_path / "out.part").exists()


@pytest.mark.parametrize(("strategy", "comparisons"), [("round-robin", 6), ("knockout", 4)])
def test_strategies(rerank: Run, tmp_path: Path, strategy: str, comparisons: int) -> None:
    [record] = rerank(write(tmp_path / "f", GOOD), "--strategy", strategy).records
    assert (record["strategy"], record["comparisons"], record["best"]) == (strategy, comparisons, 1)


def test_top_of_whole_problems(rerank: Run, tmp_path: Path) -> None:
    [record] = rerank(write(tmp_path / "f", GOOD), "--top", 2).records
    assert record["top"] == ["a", "bb"] and record["candidates"] == GOOD["candidates"]


def test_nan_from_the_judge(rerank: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "f", GOOD, GOOD | {"candidates": ["a", "?"]}, GOOD | {"candidates": ["aa", "b", "??"]})
    done = rerank(file, "--judge", "functions:not_a_number")
    good, none, some = done.records
    assert done.status == 1 and good["ranking"] == [1, 2, 0] and "invalid" not in good
    assert none["best"] is None and none["ranking"] == [0, 1] and none["invalid"] == 2
    assert some["best"] is None and sorted(some["ranking"]) == [0, 1, 2] and some["invalid"] == 4
    assert none["reasons"] == ["the judge gave no log-odds"]
    assert "2 problems undecided" in done.err and "6 judgements invalid" in done.err


def test_a_judge_that_raises(rerank: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "f", GOOD, GOOD | {"prompt": "?"}, GOOD)
    done = rerank(file, "--judge", "functions:raises")
    assert done.status == 1 and [record["best"] for record in done.records] == [1, None, 1]
    assert done.records[1]["reasons"] == ["functions:raises: RuntimeError: the judge is ill"]
    assert sorted(done.records[1]["ranking"]) == [0, 1, 2] and "1 problem undecided" in done.err


def test_a_judge_that_answers_too_few(rerank: Run, tmp_path: Path) -> None:
    done = rerank(write(tmp_path / "f", GOOD), "--judge", "functions:wrong_count")
    done.mistake("functions:wrong_count fails at every call", "returned shape (1,) for 6 pairs")


def test_options_without_effect_are_told(rerank: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "f", GOOD)
    quiet = rerank(file, "--judge", "agreement")
    for option in (["--strategy", "swiss"], ["--order", "fixed"], ["--confidence", "0.9"]):
        done = rerank(file, "--judge", "agreement", *option)
        assert done.status == 0 and done.out == quiet.out
        assert f"{option[0]} has no effect: this judge gives each candidate a quality" in done.err
    assert "no effect" not in quiet.err
    assert "no effect" not in rerank(file, "--judge", "agreement", "--strategy", "pointwise").err
    assert "no effect" not in rerank(file, "--judge", "functions:shorter", "--strategy", "swiss").err


def test_mistakes_in_the_options_are_told_before_the_judge_is_loaded(rerank: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "f", GOOD)
    for output in ((), ("-o", tmp_path / "out"), ("--report", tmp_path / "r.html")):
        done = rerank(file, "--judge", "no:judge", "--strategy", "swiss", "--confidence", "0.9", *output)
        done.mistake("--confidence is for the strategy active, not swiss")
        rerank(file, "--judge", "no:judge", "--answer", "(", *output).mistake("is not a regular expression")


def test_answers_by_a_pattern(rerank: Run, tmp_path: Path) -> None:
    texts = ["<a>4</a>, as 2 < 3", "<a>5</a>, I think", "As it is even: <a>4.0</a>"]
    file, ledger = write(tmp_path / "f", GOOD | {"candidates": texts}), tmp_path / "ledger"
    done = rerank(file, "--judge", "agreement", "--answer", "<a>(.*?)</a>", "--ledger", ledger)
    [record] = done.records
    assert record["p_best"][0] == record["p_best"][2] > record["p_best"][1]
    replayed = rerank(file, "--ledger", ledger, "--answer", "<a>(.*?)</a>", command="replay")
    assert replayed.status == 0 and replayed.records[0]["p_best"] == record["p_best"]
    assert rerank(file, "--ledger", ledger, command="replay").status == 1
    rerank(file, "--answer", "(").mistake("--answer", "is not a regular expression")


@pytest.mark.parametrize(
    "judge", ["nobody", "functions:nothing", "functions:constant", "no_module:f", "functions", "/dev/null"]
)
def test_no_such_judge(rerank: Run, tmp_path: Path, judge: str) -> None:
    done = rerank(write(tmp_path / "f", GOOD), "--judge", judge)
    done.mistake(f"--judge {judge}: ")
    assert done.out == b"" and done.err.count("\n") == 1


def test_unreadable_weights(
    rerank: Run, tmp_path: Path, tiny_judge_dir: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    monkeypatch.setenv("FLAME_RANK_MODEL", str(folder))
    done = rerank(write(tmp_path / "f", GOOD), "--judge", tiny_judge_dir, "-o", tmp_path / "out")
    done.mistake(str(weights))
    assert done.err.count("\n") == 1 and not (tmp_path / "out.part").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--strategy", "knock-out"], ["'knock-out' is not one of", "round-robin", "knockout"]),
        (["--top", "0"], ["--top"]),
        (["--on-bad-line", "ignore"], ["ignore"]),
        (["--seed", "x"], ["--seed"]),
        (["--no-such-option"], ["--no-such-option"]),
        (["--problems", "none"], ["none"]),
    ],
)
def test_a_mistake_in_the_arguments(rerank: Run, tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    rerank(write(tmp_path / "f", GOOD), *arguments).mistake(*words)
