"""`flame-train default`, from data sets to a judge: what it builds, what it takes up, and how it says what is wrong."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mbpp
import msgspec
import pytest
import sources

import flame_rank
from flame_rank import judges
from flame_rank.errors import UserError
from flame_rank.judges import checkpoint
from flame_rank.judges.default.pool import EVIDENCE, READING, JudgeSettings, PoolJudge
from flame_rank.judges.likelihood import PARTS
from flame_rank.judges.model_location import identify
from tests.flame_rank.judges.default.test_pool import FakeReader
from trainer.collection.decontamination import index_evaluation
from trainer.collection.tasks import TASKS
from trainer.default_judge.sources import SOURCES, comparisons_without_overlap, read_comparisons


@pytest.mark.parametrize("arguments", [["--help"], ["default", "--help"]])
def test_help_is_light(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from trainer.cli.group import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    heavy = [name for name in ('jax', 'flax', 'numpy', 'optax') if name in sys.modules]\n"
        "    print(heavy, file=sys.stderr)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("Usage: flame-train")
    assert ran.stderr == "[]\n"


# ---- What a build reads ----


PROMPTS = 6  # of a source
HUMANEVALS = "Check if in given list of numbers, are any two numbers closer to each other than given threshold."


def asked(name: str, form: str) -> list[str]:
    """Texts that a source's prompts are made of; one prompt more of pandalm is HumanEval's."""
    return [*(f"{name} {k}" for k in range(PROMPTS)), *([HUMANEVALS] if name == "pandalm" else [])]


def write_mbpp(data: Path) -> None:
    numbers = range(1, PROMPTS + 1)
    mbpp.write_problems(
        data,
        *(
            mbpp.problem(
                n,
                f"Add {n}.",
                f"def f{n}(a):\n    return a + {n}",
                f"assert f{n}(1) == {n + 1}",
                f"assert f{n}(2) == {n + 2}",
            )
            for n in numbers
        ),
    )
    bodies = ("a + {n}", "{n} + a", "a - -{n}", "a - {n}", "a * {n} + 90", "a * {n} + 100", "a // 7 + {n}", "-a")
    written = [(n, f"def f{n}(a):\n    return {body.format(n=n)}\n") for n in numbers for body in bodies]
    shutil.rmtree(data / "mbpp_model_solutions")  # the fixtures of other tasks
    mbpp.write_solutions(data, seeds={"starcoder": written}, reflexion=written[::3])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All data sets, a few records each."""
    folder = sources.write(tmp_path_factory.mktemp("data"), asked)
    write_mbpp(folder)
    return folder


# ---- Mistakes ----


def mistake(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What `flame-train default` says before it ends with status 2."""
    from trainer.cli.group import main

    with pytest.raises(SystemExit) as ended:
        main(["default", *map(str, arguments)])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    *before, last = err.splitlines()
    assert all(line.startswith(("read ", "Usage: ", "Try ")) or not line for line in before), "one line says it"
    return last


MISSING = {
    "gsm8k/example_model_solutions.jsonl": (
        "gsm8k-solutions: {}: no such file; get it with `flame-train data fetch gsm8k-solutions"
    ),
    "wikibio_hallucination": "wikibio-hallucination: {}/",
    "mbpp/mbpp.jsonl": "{}: no such file",
    "mbpp_model_solutions/reflexion_simple_mbpp_py.jsonl": "{}: no such file",
}


@pytest.mark.parametrize("missing", MISSING)
def test_missing_data_is_named(
    missing: str, data: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    partial = shutil.copytree(data, tmp_path / "data")
    path = partial / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    message = mistake(capsys, "--data", partial, "--model", tiny_model, "--out", tmp_path / "out")
    named = partial / "mbpp_model_solutions" / "reflexion_*.jsonl" if "reflexion" in missing else path
    assert message.startswith(f"Error: {MISSING[missing].format(named)}")


def test_broken_data_is_named(data: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    partial = shutil.copytree(data, tmp_path / "data")
    path = partial / "gsm8k" / "example_model_solutions.jsonl"
    path.write_text(path.read_text()[:-20])
    message = mistake(capsys, "--data", partial, "--model", tiny_model, "--out", tmp_path / "out")
    assert re.match(rf"Error: gsm8k-solutions: {path}:\d+: not JSON \(", message)
    shutil.copyfile(data / "gsm8k" / path.name, path)
    path = partial / "mbpp" / "mbpp.jsonl"
    path.write_text(path.read_text()[:-20])
    message = mistake(capsys, "--data", partial, "--model", tiny_model, "--out", tmp_path / "out")
    assert message.startswith(f"Error: {path}:{PROMPTS}: not JSON (")


def test_a_model_that_cannot_be_read(
    data: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--data", data, "--out", tmp_path / "out")
    assert mistake(capsys, *asked, "--model", tmp_path / "none").startswith(f"Error: --model {tmp_path / 'none'}: ")
    assert mistake(capsys, *asked).startswith("Error: --model SmolLM2-135M-Instruct: ")
    broken = shutil.copytree(tiny_model, tmp_path / "model")
    (broken / "tokenizer.json").write_text("{")
    assert str(broken / "tokenizer.json") in mistake(capsys, *asked, "--model", broken)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--data", "--out", "--seed"])
def test_options_are_checked(
    option: str, data: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, object] = {"--data": data, "--out": tmp_path / "out", "--model": tiny_model}
    given[option] = tiny_model / "config.json"
    assert option in mistake(capsys, *[part for item in given.items() for part in item])


# ---- A whole build ----


class Interrupted(Exception):
    pass


def test_builds_a_judge_through_interruptions(
    data: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.default_judge import ablation, learning
    from trainer.default_judge.learning import build
    from trainer.measuring import intervals

    monkeypatch.setattr(
        ablation, "ROWS", {name: ablation.ROWS[name] for name in ("agreement", "all", "all but reverse")}
    )
    monkeypatch.setattr(intervals, "RESAMPLES", 100)
    monkeypatch.setattr(ablation, "FOLDS", 3)
    # With a source left out, as often as there are sources, for each row: learning takes long.
    monkeypatch.setattr(ablation, "learn", lambda *_, using, **__: dict.fromkeys(using, 0.5))
    monkeypatch.setattr(learning, "CANDIDATES", 12)
    monkeypatch.setattr(learning, "CORRUPTED", 3)
    monkeypatch.setattr(learning, "MAX_LENGTH", 128)
    readers: list[FakeReader] = []

    def load_reader(path: Path, *, max_length: int, dtype: str | None) -> Any:
        assert (path, max_length, dtype) == (tiny_model, 128, "bfloat16")
        readers.append(FakeReader())
        return readers[-1]

    out, (model, path) = tmp_path / "out", identify(str(tiny_model))
    monkeypatch.setattr(checkpoint, "load_reader", load_reader)

    def run(stop: str | None) -> list[str]:
        message: list[str] = []

        def say(line: str) -> None:
            message.append(line)
            if stop and line.startswith(stop):
                raise Interrupted

        if stop:
            with pytest.raises(Interrupted):
                build(data, model, path, out, dtype="bfloat16", say=say)
        else:
            build(data, model, path, out, dtype="bfloat16", say=say)
        return message

    def kept() -> dict[str, bytes]:
        return {path.stem: path.read_bytes() for path in (out / "evidence").iterdir()}

    first = run("MBPP, few: ")
    evaluated = index_evaluation(TASKS, data, print)
    count = sum(
        len(comparisons_without_overlap(read_comparisons(source, data), evaluated)) for source in SOURCES.values()
    )
    assert count < sum(len(read_comparisons(source, data)) for source in SOURCES.values())
    assert first[0] == f"read {count} comparisons of 15 sources; running the programs of MBPP"
    assert re.fullmatch(rf"labelled \d+ programs of {PROMPTS} problems", first[1])
    assert list(kept()) == ["MBPP", "MBPP, few"] or list(kept()) == ["MBPP, few", "MBPP"]
    assert not (out / "judge.json").exists()

    # Killed while it wrote a line; what was read whole is not read again.
    whole = kept()
    (out / "evidence" / "MBPP.jsonl").write_bytes(whole["MBPP"][:-30])
    run("texts ")
    again = readers[1].texts
    assert kept()["MBPP"] == whole["MBPP"] and kept()["MBPP, few"] == whole["MBPP, few"]
    assert sum(map(bool, again)) < sum(len(lines.splitlines()) for lines in kept().values())
    free = {f"{name}, damaged" for name, source in SOURCES.items() if source.free}
    assert {*kept()} - {"hh-harmless, refusals"} == {"MBPP", "MBPP, few", "gsm8k, votes", *SOURCES} | free
    for parts, texts in zip(readers[1].parts, again, strict=True):
        assert not texts or parts == ({"forward"} if "return" in texts[0] else PARTS)

    third = run(None)
    people = {*kept()} & {*learning.MEASURED}
    assert people and sum(map(bool, readers[2].texts)) <= sum(len(kept()[name].splitlines()) for name in people)
    assert third[-1].endswith(f"wrote {out}") and not any("MBPP: " in line for line in third)
    with pytest.raises(UserError, match="begun with another seed"):
        build(data, model, path, out, seed=1, dtype="bfloat16", say=lambda line: None)
    monkeypatch.setattr(learning, "RULES", ())
    with pytest.raises(UserError, match="begun with another rule set"):
        build(data, model, path, out, dtype="bfloat16", say=lambda line: None)

    figures = json.loads((out / "figures.json").read_bytes())
    assert figures.keys() == {"programs", "few programs", "answers", "texts", *people}
    assert figures["programs"].keys() == {"MBPP"} and "consensus" in figures["programs"]["MBPP"]
    assert figures["few programs"].keys() == {"MBPP, few"}
    assert "gsm8k" in figures["answers"] and "gsm8k, votes" not in figures["answers"]  # they are one source
    assert {"pandalm", "pandalm, damaged", "summeval"} <= figures["texts"].keys()
    assert all({"agreement", "all", "longest", "mean"} <= rows.keys() for rows in figures["texts"].values())

    settings = msgspec.json.decode((out / "judge.json").read_bytes(), type=JudgeSettings)
    assert settings.model == model and settings.max_length == 128
    for weights in (settings.reading, settings.alone):
        assert weights.keys() == {"programs", "few programs", "answers", "texts"}
        assert all({*of_kind} <= {*EVIDENCE} for of_kind in weights.values())
    assert not {name for of_kind in settings.alone.values() for name in of_kind} & {*READING}
    # A damaged reply agrees with its pool because it was made of it: what that is worth is not learned from it.
    assert all(not seen.values["overlap"].any() for seen in _apart(out, "pandalm, damaged"))

    monkeypatch.undo()
    judge = judges.load(str(out))
    assert isinstance(judge, PoolJudge) and judge.reader is not None
    programs = ["    return a +\n", "    return a + 1\n", "    return 1 + a\n", "    return a + 1\n"]
    ranking = flame_rank.rerank("def f(a):\n", programs, judge=judge)
    assert sorted(ranking.order) == [0, 1, 2, 3]
    assert ranking.order[-1] == 0  # it does not parse


def _apart(out: Path, name: str) -> list[Any]:
    """What a build learns from, of what it has kept of a source."""
    from trainer.default_judge import learning

    lines = (out / "evidence" / f"{name}.jsonl").read_bytes().splitlines()
    results = [msgspec.json.decode(line, type=learning._Line).evidence() for line in lines]
    assert any(seen.values["overlap"].any() for seen in results)
    return [learning._without_agreement(seen) for seen in results]
