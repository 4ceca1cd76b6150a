"""Training: the loss is the plain one, a step does not depend on how it is divided, a run goes on where it was, and
what is trained learns."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import gguf_files
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from checkpoints import VARIANTS, write_checkpoint
from click.testing import CliRunner
from flax import nnx
from places import ROOT, SUPPORT
from safetensors.numpy import load_file
from tokenizers_tiny import CHATML, write_byte_bpe, write_sentencepiece

import flame_rank
from flame_rank.errors import UserError
from flame_rank.model import sharding, t5
from flame_rank.prompts.format import frame
from flame_rank.prompts.instructions import PAIRWISE, PAIRWISE_CONTEXT
from trainer.cli.group import cli
from trainer.cli.run import Stated, read_mixture, saves
from trainer.collection.examples import Example, examples
from trainer.collection.tasks.base import DataSet, Pair, Release, Task
from trainer.finetune import base_model, lora, memory, trainable
from trainer.finetune.evaluation import accuracy
from trainer.finetune.loop import CheckpointPolicy, Training, collate, train
from trainer.finetune.recipe import Recipe, optimiser
from trainer.finetune.step import State, dropout, losses, make_train_step, sums
from trainer.finetune.tokenized_rows import TokenizedRows, build, encode

MESH = sharding.mesh(devices=jax.devices()[:1])
SMALL = Recipe(steps=6, batch=8, rate=1e-2, max_input=256, max_target=8)


def convert(record: Any) -> Iterator[Pair]:
    yield Pair(context=(record["q"],), better=record["good"], worse=record["bad"])


TASK = Task(
    name="words",
    split="train",
    capability="safety",
    kind="pairwise",
    data=DataSet(
        folder="words",
        origin="https://example.org",
        licence="MIT",
        permissive=True,
        releases=(Release(files=("w.jsonl",), read=lambda folder: folder.jsonl("w.jsonl")),),
    ),
    title="Words",
    description="Choose.",
    fields=("prompt",),
    convert=convert,
)


def write_words(data: Path, count: int, seed: int = 0) -> Path:
    """Of two lines of words, the one with "yes" in it is the better one."""
    rng, words = np.random.default_rng(seed), ["item", "sum", "first", "second", "choice", "return", "print", "for"]
    (data / "words").mkdir(parents=True, exist_ok=True)
    with (data / "words" / "w.jsonl").open("w") as file:
        for k in range(count):
            one, two = (list(rng.choice(words, 3)) for _ in range(2))
            one[rng.integers(3)], two[rng.integers(3)] = "A", "B"
            file.write(json.dumps({"q": f"{k % 7}", "good": " ".join(one), "bad": " ".join(two)}) + "\n")
    return data


def checkpoint(folder: Path, family: str = "llama3", **sizes: Any) -> Path:
    folder.mkdir(parents=True)
    if family == "t5":
        size = write_sentencepiece(folder, "t5")
        config: dict[str, Any] = {
            "model_type": "t5",
            "d_model": 32,
            "d_ff": 48,
            "d_kv": 8,
            "num_layers": 1,
            "num_heads": 4,
        }
    else:
        size = write_byte_bpe(folder, bos=True)
        config = VARIANTS[family] | {"num_hidden_layers": 1}  # to compile a gradient takes long
    write_checkpoint(folder, {**config, **sizes, "vocab_size": size})
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("base") / "llama3")


@pytest.fixture(scope="module")
def base(folder: Path) -> base_model.Base:
    return base_model.load(folder, MESH)


@pytest.fixture(scope="module")
def rows(base: base_model.Base, tmp_path_factory: pytest.TempPathFactory) -> TokenizedRows:
    data = write_words(tmp_path_factory.mktemp("data"), 64)
    return build(base.form, "i", TASK, lambda: examples(TASK, data), data / "rows", max_input=256, max_target=8)


def fresh(base: base_model.Base) -> base_model.Base:
    """With parameters of its own: a step takes them over."""
    copied: base_model.Base = replace(base, params=jax.tree.map(jnp.copy, base.params))
    return copied


def some(rows: TokenizedRows, *places: int) -> list[Any]:
    return [rows[place][:2] for place in places]


def flat(params: Any) -> dict[str, np.ndarray]:
    return {".".join(map(str, path)): np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(params)}


def test_the_loss_is_the_plain_one(base: base_model.Base, rows: TokenizedRows) -> None:
    batch = jax.tree.map(lambda x: x[0], collate(some(rows, 0, 1, 2), 1, joined=True))
    model = nnx.merge(base.graph, base.params)
    found = sums(model, batch)
    wanted, right = 0.0, []
    for of_input, target in some(rows, 0, 1, 2):
        ids = np.concatenate([of_input, target])
        log_probs = jax.nn.log_softmax(model(jnp.asarray(ids)[None])[0])
        places = np.arange(len(of_input), len(ids))
        wanted -= float(log_probs[places - 1, ids[places]].sum())
        right.append(bool((np.asarray(log_probs)[places - 1].argmax(1) == target).all()))
    assert float(found.loss) == pytest.approx(wanted, rel=1e-5) and found.right.tolist() == right
    assert int(found.tokens) == sum(len(target) for _, target in some(rows, 0, 1, 2))


@pytest.mark.full
def test_the_loss_of_t5(tmp_path: Path) -> None:
    base = base_model.load(checkpoint(tmp_path / "t5", "t5"), MESH)
    examples = [
        (np.array([5, 6, 7], np.int32), np.array([8, 1], np.int32)),
        (np.array([9], np.int32), np.array([4, 3, 1], np.int32)),
    ]
    batch = jax.tree.map(lambda x: x[0], collate(examples, 1, joined=False))
    model = nnx.merge(base.graph, base.params)
    counts = jnp.array([2, 3])
    wanted = -t5.score(model, batch.tokens, batch.lengths, batch.targets, counts).sum()
    assert float(sums(model, batch).loss) == pytest.approx(float(wanted), rel=1e-5)


def test_input_and_target_are_the_judges_own_tokens(folder: Path, base: base_model.Base) -> None:
    judge = flame_rank.load_judge(folder)
    problem = flame_rank.Problem(prompt="What is 2 + 2?", candidates=["It is 4.", "Five \n"])
    task = replace(TASK, title=PAIRWISE.title, description=PAIRWISE.description)
    pieces = tuple(frame(PAIRWISE, PAIRWISE_CONTEXT))
    texts = [problem.prompt, *problem.texts]
    made = [Example(task="t", pieces=pieces, values=tuple(texts), target=f" {letter}", label=letter) for letter in "AB"]
    found = list(encode(base.form, task, made, max_input=2048, max_target=8))
    for (of_input, target, cut), verdict in zip(found, judge.verdict_ids, strict=True):
        assert list(of_input) == judge.tokens(problem, 0, 1) and target[0] == verdict and not cut
        assert len(target) == 2 and target[1] in base.form.eos


def test_what_is_too_long_is_cut_as_the_judge_cuts(folder: Path, base: base_model.Base) -> None:
    judge = flame_rank.load_judge(folder, max_length=300)
    problem = flame_rank.Problem(prompt="p " * 100, candidates=["a b " * 200, "short"])
    task = replace(TASK, title=PAIRWISE.title, description=PAIRWISE.description)
    pieces = tuple(frame(PAIRWISE, PAIRWISE_CONTEXT))
    made = Example(task="t", pieces=pieces, values=(problem.prompt, *problem.texts), target=" A", label="A")
    ((of_input, _, cut),) = encode(base.form, task, [made], max_input=300, max_target=8)
    assert list(of_input) == judge.tokens(problem, 0, 1) and cut and len(of_input) <= 300
    long = replace(task, kind="generative", fields=("x", "y"), labels=())
    values = ("w " * 400, "v " * 90)
    free = Example(task="t", pieces=pieces, values=values, target=" t " + "u " * 99, label="")
    ((of_input, target, cut),) = encode(base.form, long, [free], max_input=300, max_target=8)
    assert cut and len(of_input) <= 300 and len(target) == 8
    with pytest.raises(ValueError, match="its instructions take"):
        list(encode(base.form, task, [made], max_input=64, max_target=8))


def test_what_is_too_long_is_left_out(base: base_model.Base, tmp_path: Path) -> None:
    data = write_words(tmp_path, 3)
    with (data / "words" / "w.jsonl").open("a") as file:
        file.write(json.dumps({"q": "w " * 400, "good": "A", "bad": "B"}) + "\n")
    found = {}
    for skip in (False, True):
        sizes: dict[str, Any] = {"max_input": 200, "max_target": 8, "skip": skip}
        found[skip] = build(base.form, "i", TASK, lambda: examples(TASK, data), tmp_path / "rows", **sizes)
    assert [len(found[False]), len(found[True])] == [4, 3] and found[False].cut == found[True].cut == 1
    assert all(
        np.array_equal(a, b) for k in range(3) for a, b in zip(found[True][k][:2], found[False][k][:2], strict=True)
    )


def test_dropout_is_drawn_row_by_row() -> None:
    key, x = jax.random.key(3), jnp.ones((4, 5, 7))
    whole = dropout(key, jnp.arange(4), 0.25)
    first, second = whole(x), whole(x)
    assert not np.array_equal(first, second)  # another place in the model
    part = dropout(key, jnp.arange(2, 4), 0.25)(x[2:])
    assert np.array_equal(part, first[2:])
    assert set(np.unique(first)) == {0.0, np.float32(1 / 0.75)}
    many = np.asarray(dropout(key, jnp.arange(64), 0.25)(jnp.ones((64, 16, 16))))
    assert abs((many == 0).mean() - 0.25) < 0.02


@pytest.mark.full
def test_the_gradient_is_that_of_the_mean_over_target_tokens(base: base_model.Base, rows: TokenizedRows) -> None:
    # Adam does not see the scale of a gradient: here the step is the gradient itself.
    own = fresh(base)
    whole = partial(trainable.assembled, base.graph)
    program = make_train_step(whole, optax.sgd(1.0), dtype=jnp.float32, rate=0.0, recompute=False)
    batch = collate(some(rows, 0, 1, 2, 3), 2, joined=True)
    state, found = program(State(own.params, optax.sgd(1.0).init(own.params)), {}, batch, jax.random.key(0))
    together = jax.tree.map(lambda x: x[0], collate(some(rows, 0, 1, 2, 3), 1, joined=True))

    def mean(params: Any) -> jax.Array:
        one = sums(nnx.merge(base.graph, params), together)
        return one.loss / one.tokens

    value, gradient = jax.value_and_grad(mean)(base.params)
    assert float(found.loss) == pytest.approx(float(value), rel=1e-5)
    before, after, wanted = flat(base.params), flat(state.trained), flat(gradient)
    for name in wanted:
        np.testing.assert_allclose(before[name] - after[name], wanted[name], atol=1e-5, err_msg=name)


@pytest.mark.parametrize("rank", [0, pytest.param(4, marks=pytest.mark.full)])
def test_parts_of_a_batch_give_the_whole(rank: int, base: base_model.Base, rows: TokenizedRows) -> None:
    found = []
    for parts in (1, 4):
        training = Training(fresh(base), replace(SMALL, accumulate=parts, lora=rank, dropout=0.1), MESH)
        values = [float(training.step(some(rows, *range(k, k + 8))).loss) for k in range(3)]
        found.append((values, flat(training.params())))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
    for name, value in found[0][1].items():
        np.testing.assert_allclose(value, found[1][1][name], atol=2e-4, err_msg=name)


def test_adapters_change_nothing_at_first_and_merge(base: base_model.Base, rows: TokenizedRows, tmp_path: Path) -> None:
    training = Training(fresh(base), replace(SMALL, lora=4), MESH)
    before, after = flat(base.params), flat(training.params())
    assert all(np.array_equal(value, after[name]) for name, value in before.items())
    for k in range(3):
        training.step(some(rows, *range(k, k + 8)))
    frozen = flat(training.frozen)
    assert all(np.array_equal(value, frozen[name]) for name, value in before.items())
    training.base.save(training.params(), tmp_path / "merged")
    judge, other = flame_rank.load_judge(tmp_path / "merged"), base_model.load(tmp_path / "merged", MESH)
    assert judge.name.startswith("llama:")
    batch = jax.tree.map(lambda x: x[0], collate(some(rows, 0, 1, 2), 1, joined=True))

    def apart(x: jax.Array, weight: jax.Array, own: dict[str, jax.Array]) -> jax.Array:
        return x @ weight.T + lora.ALPHA * (x @ own["A"].T) @ own["B"].T

    name = "model.layers.0.mlp.up_proj.weight"
    own, x = training.state.trained[name], jax.random.normal(jax.random.key(0), (3, 32))
    np.testing.assert_allclose(apart(x, frozen[name], own), x @ flat(other.params)[name].T, atol=1e-5)
    one, two = (float(sums(nnx.merge(base.graph, p), batch).loss) for p in (training.params(), other.params))
    assert one == pytest.approx(two, rel=1e-5)
    lora.save_peft(training.state.trained, str(base.path), tmp_path / "adapter")
    said = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert said["r"] == 4 and said["lora_alpha"] == 8 and "up_proj" in said["target_modules"]
    stored = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    np.testing.assert_array_equal(stored["base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"], own["A"])
    asked = [(flame_rank.Problem(prompt="first", candidates=["item A sum", "item B sum"]), np.array([[0, 1]]))]
    adapted, own_base = (flame_rank.load_judge(place).judge(asked)[0] for place in (tmp_path / "adapter", base.path))
    assert adapted == pytest.approx(judge.judge(asked)[0], abs=1e-5) and abs(adapted - own_base) > 1e-3
    with pytest.raises(UserError, match="it is an adapter; merge it into its base"):
        base_model.load(tmp_path / "adapter", MESH)


def test_frozen_layers_stay_and_the_others_go_as_without(tmp_path: Path, rows: TokenizedRows) -> None:
    base = base_model.load(checkpoint(tmp_path / "base", num_hidden_layers=2), MESH)
    found = {}
    for freeze in (0, 1):
        training = Training(fresh(base), replace(SMALL, freeze=freeze), MESH)
        found[freeze] = float(training.step(some(rows, *range(8))).loss), flat(training.params())
    before = flat(base.params)
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    for name, value in found[1][1].items():
        if "embed_tokens" in name or ".layers.0." in name:
            np.testing.assert_array_equal(value, before[name], err_msg=name)
        else:
            assert not np.array_equal(value, before[name]), name
            np.testing.assert_allclose(value, found[0][1][name], atol=1e-4, err_msg=name)
    training.save(tmp_path / "saved")
    again = Training(fresh(base), training.recipe, MESH)
    again.restore(tmp_path / "saved")
    more = [float(one.step(some(rows, *range(8, 16))).loss) for one in (training, again)]
    assert more[0] == more[1] and again.done == training.done
    with pytest.raises(UserError, match=r"--freeze 2: .* has 2 layers"):
        Training(base, replace(SMALL, freeze=2), MESH)


def test_no_gradient_is_computed_for_what_is_not_trained(tmp_path: Path, rows: TokenizedRows) -> None:
    # 1 part forward, 1 for the gradient of what goes into a matrix, 1 for that of the matrix itself.
    sizes = {"num_hidden_layers": 4, "hidden_size": 64, "intermediate_size": 256}
    base = base_model.load(checkpoint(tmp_path / "base", **sizes), MESH)
    found = {}
    for name, lora_rank, freeze in (("all", 0, 0), ("upper", 0, 2), ("adapters", 1, 0), ("some", 1, 2)):
        training = Training(fresh(base), replace(SMALL, lora=lora_rank, freeze=freeze), MESH)
        batch = collate(some(rows, *range(8)), 1, joined=True)
        lowered = training.program.lower(training.state, training.frozen, batch, jax.random.key(0))
        found[name] = lowered.cost_analysis()["flops"]
    assert found["upper"] < 0.75 * found["all"] and found["adapters"] < 0.85 * found["all"]
    assert found["some"] < 0.85 * found["adapters"]


def test_adapters_of_upper_layers_say_which(tmp_path: Path) -> None:
    base = base_model.load(checkpoint(tmp_path / "base", num_hidden_layers=2), MESH)
    for freeze, layers in ((0, None), (1, [1])):
        adapters = lora.start(base.params, 2, 0, freeze=freeze)
        lora.save_peft(adapters, "base", tmp_path / str(freeze))
        said = json.loads((tmp_path / str(freeze) / "adapter_config.json").read_text())
        assert said["layers_to_transform"] == layers
        assert {int(name.split(".")[2]) for name in adapters} == {*range(freeze, 2)}


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf")
    config = VARIANTS["llama2"] | {"vocab_size": write_byte_bpe(folder, template=CHATML), "num_hidden_layers": 1}
    write_checkpoint(folder / "hf", config)
    tensors = gguf_files.converted(config, load_file(folder / "hf" / "model.safetensors"))
    metadata = gguf_files.parameters(config) | gguf_files.byte_bpe(folder, "gpt-2")
    gguf_files.write(folder / "m.gguf", "llama", metadata, tensors)
    return folder / "m.gguf"


def test_what_begins_with_a_gguf_file_is_a_directory(gguf_file: Path, tmp_path: Path) -> None:
    base = base_model.load(gguf_file, MESH)
    base.save(base.params, tmp_path / "saved")
    problem = flame_rank.Problem(prompt="Which is <|im_end|> 42?", candidates=["A naïve one", "return 1.5"])
    judges = [flame_rank.load_judge(path) for path in (gguf_file, tmp_path / "saved")]
    assert judges[0].tokens(problem, 0, 1) == judges[1].tokens(problem, 0, 1)
    assert judges[0].verdict_ids == judges[1].verdict_ids
    found = [judge.judge([(problem, np.array([[0, 1]]))])[0][0] for judge in judges]
    assert found[0] == pytest.approx(found[1], abs=1e-6) and abs(found[0]) > 1e-3
    said = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert said["architectures"] == ["LlamaForCausalLM"] and said["eos_token_id"] in base.form.eos


@pytest.mark.parametrize("options", [{}, {"lora": 2, "freeze": 1}], ids=str)
def test_memory_is_estimated(options: dict[str, Any], tmp_path: Path) -> None:
    sizes = {"num_hidden_layers": 3, "hidden_size": 64, "intermediate_size": 256}
    base = base_model.load(checkpoint(tmp_path / "base", **sizes), MESH)
    training = Training(base, replace(SMALL, **options), MESH)
    counted = []
    for length in (128, 256):
        batch = collate([(np.ones(length - 8, np.int32), np.ones(8, np.int32))] * 8, 1, joined=True)
        lowered = training.program.lower(training.state, training.frozen, batch, jax.random.key(0))
        compiled = lowered.compile(compiler_options={"xla_backend_optimization_level": 0})
        counted.append(compiled.memory_analysis().temp_size_in_bytes)
    a_token = (counted[1] - counted[0]) / (8 * 128)
    assert a_token < memory.token(base, training.recipe, 256) < 3 * a_token


def test_too_little_memory_is_told_and_little_is_enough(
    base: base_model.Base, rows: TokenizedRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    least = memory.weights(base, SMALL) + 320 * memory.token(base, SMALL, 320)
    monkeypatch.setattr(memory.malloc, "memory", lambda: (least - 1) * jax.local_device_count())
    with pytest.raises(UserError, match=r"GiB more, and there are 0.0 GiB; --lora"):
        Training(base, SMALL, MESH)
    monkeypatch.setattr(memory.malloc, "memory", lambda: least * jax.local_device_count())
    little = Training(fresh(base), SMALL, MESH)
    assert little.room == 320
    monkeypatch.undo()
    much = Training(fresh(base), SMALL, MESH)
    examples = some(rows, *range(8))
    assert little._parts(examples) > 1 == much._parts(examples)
    assert float(little.step(examples).loss) == pytest.approx(float(much.step(examples).loss), rel=1e-5)


def test_the_first_step_of_adam_moves_every_weight_by_the_rate(base: base_model.Base, rows: TokenizedRows) -> None:
    training = Training(fresh(base), replace(SMALL, rate=1e-3, dropout=0.0), MESH)
    before = flat(base.params)
    training.step(some(rows, *range(8)))
    moved = {name: np.abs(value - before[name]) for name, value in flat(training.params()).items()}
    most = max(float(value.max()) for value in moved.values())
    assert most == pytest.approx(1e-3, rel=1e-2) and all(value.max() > 9e-4 for value in moved.values())


def test_schedules() -> None:
    def rates(**options: Any) -> list[float]:
        tx, params = optimiser(Recipe(steps=10, rate=1.0, **options)), jnp.zeros(())
        state, found = tx.init(params), []
        for _ in range(10):
            update, state = tx.update(jnp.ones(()), state, params)
            found.append(-float(update))
        return found

    assert rates() == pytest.approx([1.0] * 10, rel=1e-3)
    warm = rates(warmup=4, schedule="linear")
    assert warm[:5] == pytest.approx([0, 0.25, 0.5, 0.75, 1.0], abs=1e-3) and warm[-1] < 0.2
    assert all(a >= b for a, b in pairwise(rates(schedule="cosine")))


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"batch": 7, "accumulate": 2}, {"dropout": 1.0}, {"max_input": 0}], ids=str
)
def test_a_recipe_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is|divide"):
        Recipe(**options)


@pytest.mark.parametrize("rank", [0, pytest.param(4, marks=pytest.mark.full)])
def test_a_run_goes_on_to_the_last_bit(
    rank: int, folder: Path, base: base_model.Base, rows: TokenizedRows, tmp_path: Path
) -> None:
    recipe, program = replace(SMALL, lora=rank), None
    for name, stops in (("whole", [6]), ("parts", [2, 3, 6])):
        for stop in stops:
            training = Training(base_model.load(folder, MESH), replace(recipe, steps=stop), MESH)
            program = training.program = program or training.program  # compiled once
            train(
                training,
                [rows],
                {"words": 1.0},
                tmp_path / name,
                CheckpointPolicy(every=2, last=1, log=1),
                say=lambda _: None,
            )
    one, other = (load_file(tmp_path / name / "step-0000006" / "model.safetensors") for name in ("whole", "parts"))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    lines = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "parts" / "step-0000006" / "adapter" / "adapter_config.json").exists() == bool(rank)
    whole = [json.loads(line)["loss"] for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == whole
    assert [path.name for path in sorted((tmp_path / "parts").glob("step-*"))] == ["step-0000006"]
    with pytest.raises(UserError, match="begun with another rate"):
        train(
            Training(base_model.load(folder, MESH), replace(recipe, rate=0.5), MESH), [rows], {"words": 1.0},
            tmp_path / "parts", CheckpointPolicy(),
        )  # fmt: skip


@pytest.mark.full
def test_t5_learns(tmp_path: Path) -> None:
    base = base_model.load(checkpoint(tmp_path / "t5", "t5"), MESH)
    ids = ([5, 6, 7], [8, 1]), ([9], [4, 3, 1])
    examples = [(np.array(of_input, np.int32), np.array(target, np.int32)) for of_input, target in ids]
    training = Training(base, replace(SMALL, batch=2), MESH)
    values = [float(training.step(examples).loss) for _ in range(30)]
    assert values[-1] < values[0] / 2


@pytest.mark.full
def test_layers_that_are_computed_again_give_the_same(base: base_model.Base, rows: TokenizedRows) -> None:
    found = []
    for recompute in (False, True):
        training = Training(fresh(base), replace(SMALL, recompute=recompute), MESH)
        found.append([float(training.step(some(rows, *range(k, k + 8))).loss) for k in range(3)])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


@pytest.mark.full
def test_every_program_lowers_for_every_platform(base: base_model.Base, rows: TokenizedRows, tmp_path: Path) -> None:
    for made, recipe in (
        (base, replace(SMALL, dtype="bfloat16", recompute=True, accumulate=2)),
        (base, replace(SMALL, lora=4)),
        (base_model.load(checkpoint(tmp_path / "t5", "t5"), MESH), SMALL),
    ):
        training = Training(fresh(made), recipe, MESH)
        batch = collate(some(rows, *range(8)), recipe.accumulate or 1, joined=made.joined)
        arguments = training.state, training.frozen, batch, jax.random.key(0)
        exported = jax.export.export(training.program, platforms=["tpu", "cuda", "cpu"])(*arguments)
        assert exported.platforms == ("tpu", "cuda", "cpu")


@pytest.mark.full
def test_it_learns(tmp_path: Path) -> None:
    # Which of two lines has an A in it; the base is random. Measured on other lines.
    wide = {"num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128, "rope_scaling": None}
    base = base_model.load(checkpoint(tmp_path / "base", "llama3", **wide), MESH)
    task = replace(TASK, description="Choose.")
    found = []
    for name, count, seed in (("train", 2000, 0), ("test", 100, 1)):
        data = write_words(tmp_path / name, count, seed)
        kept = data / "rows"
        found.append(
            build(base.form, name, task, lambda data=data: examples(task, data), kept, max_input=256, max_target=4)  # type: ignore[misc]
        )
    recipe = Recipe(steps=250, batch=16, rate=2e-3, schedule="cosine", warmup=20, max_input=256, max_target=4, clip=1.0)
    training = Training(base, recipe, MESH)
    assert accuracy(training, found[1]) < 0.75
    train(training, found[:1], {"words": 1.0}, tmp_path / "out", CheckpointPolicy(every=1000), say=lambda _: None)
    assert accuracy(training, found[1]) >= 0.95


PROGRAM = """
import json, sys
import jax
jax.config.update("jax_num_cpu_devices", 8)
from dataclasses import replace
from pathlib import Path
from tests.trainer.finetune.test_training import SMALL, TASK, Training, base_model, build, examples, sharding, some

folder, data = map(Path, sys.argv[1:])
found = []
for devices, model in ((1, 1), (8, 1), (8, 2)):
    mesh = sharding.mesh(model, jax.devices()[:devices])
    base = base_model.load(folder, mesh)
    rows = build(base.form, "i", TASK, lambda: examples(TASK, data), data / "rows", max_input=256, max_target=8)
    training = Training(base, replace(SMALL, dropout=0.1, rate=1e-3), mesh)
    found.append([float(training.step(some(rows, *range(k, k + 8))).loss) for k in range(20)])
print(json.dumps(found))
"""


@pytest.mark.full
def test_eight_devices_train_as_one_does(folder: Path, tmp_path: Path) -> None:
    data = write_words(tmp_path, 64)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), str(data)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    one, *others = json.loads(done.stdout)
    for other in others:
        np.testing.assert_allclose(other, one, rtol=1e-5)


# The command.


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli, ["run", *map(str, arguments)])


@pytest.fixture
def small(folder: Path, made_tasks: Path, tmp_path: Path) -> list[object]:
    numbers = ("--steps", 2, "--batch", 2, "--max-input", 512, "--max-target", 16)
    return ["--base", folder, "--data", made_tasks, "--out", tmp_path / "out", *numbers]


@pytest.fixture(scope="module")
def made_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from releases import make

    whole, data = make(tmp_path_factory.mktemp("whole")), tmp_path_factory.mktemp("some")
    for name in ("mnli", "esnli", "hh_rlhf_harmless", "expert_lfqa"):
        shutil.copytree(whole / name, data / name)
    return data


def test_the_command_trains_and_the_judge_reads_it(small: list[object], tmp_path: Path) -> None:
    done = run(*small, "--eval", "mnli", "--eval-every", 1, "--licence", "permissive")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "mnli: 3 examples" in done.stderr and "step 2/2  loss " in done.stderr and "eval" in done.stderr
    assert "no dropout: " in done.stderr and "% padding" in done.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "best", "metrics.jsonl", "recipe.json", "rows", "step-0000001", "step-0000002", "tensorboard",
    ]  # fmt: skip
    judge = flame_rank.load_judge(tmp_path / "out" / "best")
    assert flame_rank.rerank("p", ["a", "b"], judge=judge).order in ([0, 1], [1, 0])
    again = run(*small, "--licence", "permissive")
    assert again.exit_code == 0 and "taken up at step 2" in again.stderr


def test_a_mixture_of_ones_own_on_a_gguf_file(small: list[object], gguf_file: Path, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("task,weight\nmnli,1\nesnli,3\nlima,2\n")
    done = run(*small, "--base", gguf_file, "--mixture", tmp_path / "m.csv")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "mnli: 3 examples" in done.stderr and "hh-harmless" not in done.stderr
    assert "1 of the mixture's 3 tasks are not under " in done.stderr
    assert flame_rank.load_judge(tmp_path / "out" / "step-0000002").name.startswith("llama:")


def test_a_mixture_is_read_before_anything_else(small: list[object], tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("mnli,1\n")
    done = run(*small, "--mixture", tmp_path / "m.csv", "--base", tmp_path / "nowhere")
    assert isinstance(done.exception, UserError) and "m.csv:1: the columns are task, weight" in str(done.exception)


def test_a_run_is_saved_on_the_way() -> None:
    said: list[str] = []
    assert [saves(steps, None, said.append) for steps in (1, 5, 200, 60_000)] == [1, 1, 20, 1000]
    assert saves(200, 50, said.append) == 50 and not said
    assert saves(200, 1000, said.append) == 200 and "saved at its end only" in said[0]


def test_pairs_in_both_orders_and_only_what_is_short(base: base_model.Base, made_tasks: Path, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("task,weight\nmnli,1\nhh-harmless,3\n")

    def read(max_input: int, **options: bool) -> tuple[dict[str, TokenizedRows], list[str]]:
        recipe, said = replace(SMALL, max_input=max_input), list[str]()
        mixture = Stated.read(str(tmp_path / "m.csv"), None, licence="any", extra=False)
        rows, weights = read_mixture(base, recipe, mixture, made_tasks, tmp_path / "out", 0.001, said.append, **options)
        assert weights == {one.task: {"mnli": 1.0, "hh-harmless": 3.0}[one.task] for one in rows}
        return {one.task: one for one in rows}, said

    once, twice = read(2048)[0], read(2048, both_orders=True)[0]
    assert len(twice["mnli"]) == len(once["mnli"]) and len(twice["hh-harmless"]) == 2 * len(once["hh-harmless"])
    labels = twice["hh-harmless"].index[:, 3]
    assert (labels[::2] + labels[1::2] == 1).all()
    longest = int(once["mnli"].index[:, 1].max())
    assert longest < once["hh-harmless"].index[:, 1].min()
    short, said = read(longest + 60, skip=True)
    assert {*short} == {"mnli"} and "hh-harmless: no example is left to train on" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mixture", "none.csv"], "none.csv: no such file; a mixture is flame, flame-rm, or a CSV"),
        (["--mixture", "flame-rm"], "--ratings FILE: flame-rm"),
        (["--batch", 3, "--accumulate", 2], "a batch of 3 does not divide"),
        (["--eval", "nothing"], "no task 'nothing'"),
        (["--eval", "lima"], "lima"),
        (["--max-input", 64], "its instructions take"),
        (["--model-parallel", 7], "cannot be split into groups of 7"),
        (["--template", "chat"], "it has no chat template"),
        (["--base", "none.gguf"], "--base none.gguf: "),
        (["--base", "hf:none"], "--base hf:none: it is hf:ORG/NAME"),
        (["--freeze", 9], "--freeze 9: it is for decoders, and this model has 1 layers"),
    ],
)
def test_mistakes_are_told(arguments: list[object], said: str, small: list[object]) -> None:
    done = run(*small, *arguments)
    assert done.exit_code != 0 and isinstance(done.exception, UserError | SystemExit)
    assert said in str(done.exception) + done.output


def test_the_likelihood_of_labels_decides(base: base_model.Base, rows: TokenizedRows) -> None:
    training = Training(fresh(base), SMALL, MESH)
    model, right, rows = nnx.merge(base.graph, base.params), 0, replace(rows, index=rows.index[:8])
    for k in range(len(rows)):
        of_input, _, label = rows[k]
        costs = [
            float(
                losses(
                    model, jax.tree.map(lambda x: x[0], collate([(of_input, np.array(ids, np.int32))], 1, joined=True))
                )[0][0, : len(ids)].sum()
            )
            for ids in rows.label_ids
        ]
        right += int(np.argmin(costs)) == label
    assert accuracy(training, rows) == right / len(rows)
    with pytest.raises(ValueError, match="no labels"):
        accuracy(training, replace(rows, labels=()))
