"""A training in the separate form: rows, checkpoints and the judge that they make are of one form."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from small_training import MESH, SMALL, TASK, checkpoint, write_words

import flame_rank
from flame_rank.errors import UserError
from flame_rank.judges.language_model import LanguageModelJudge
from flame_rank.judges.separate import SeparateJudge
from flame_rank.prompts.instructions import PAIRWISE
from trainer.collection import tasks
from trainer.collection.examples import Example, examples
from trainer.finetune import base_model
from trainer.finetune.evaluation import right_answers
from trainer.finetune.recipe import Recipe
from trainer.finetune.run import train
from trainer.finetune.run_options import ExampleOptions
from trainer.finetune.step import collate, losses
from trainer.finetune.tokenized_rows import Row, build, encode
from trainer.finetune.training import Training
from trainer.measuring.asking import ask

ASKED = replace(TASK, title=PAIRWISE.title, description=PAIRWISE.description)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> base_model.Base:
    folder = checkpoint(tmp_path_factory.mktemp("base") / "b")
    return base_model.load(folder, MESH, responses="separate")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    return list(examples(ASKED, write_words(tmp_path_factory.mktemp("words"), 12)))


@pytest.fixture(scope="module")
def trained(base: base_model.Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a training with adapters that is a judge of the separate form."""
    training = Training(base, replace(SMALL, lora=2), MESH)
    folder = tmp_path_factory.mktemp("run") / "step-0000000"
    training.save(folder)
    return folder


def test_a_checkpoint_and_its_adapter_are_asked_in_their_form(trained: Path) -> None:
    for folder in (trained, trained / "adapter"):
        assert type(flame_rank.load_judge(folder)) is SeparateJudge
    stated = json.loads((trained / "config.json").read_text())
    assert stated.pop("flame_rank_responses") == "separate"
    (trained.parent / "plain").mkdir()
    for file in trained.iterdir():
        if file.is_file():
            (trained.parent / "plain" / file.name).write_bytes(file.read_bytes())
    config = trained.parent / "plain" / "config.json"
    config.write_text(json.dumps(stated))
    assert type(flame_rank.load_judge(config.parent)) is LanguageModelJudge
    config.write_text(json.dumps(stated | {"flame_rank_responses": "alone"}))
    with pytest.raises(UserError, match="flame_rank_responses = 'alone'; it must be one of joint, separate"):
        flame_rank.load_judge(config.parent)


@pytest.mark.parametrize(("think", "ask"), [("", "choice"), ("#think=100", "verdict")])
def test_it_is_asked_in_no_other_form(think: str, ask: Any, trained: Path) -> None:
    with pytest.raises(UserError, match="it reads responses separately and gives verdicts only; leave"):
        flame_rank.load_judge(f"{trained}{think}", ask=ask)
    judge: Any = flame_rank.load_judge(trained)
    with pytest.raises(UserError, match="leave --explain out"):
        judge.explain([])


def test_a_row_is_the_judges_own(trained: Path, base: base_model.Base, words: list[Example]) -> None:
    judge: Any = flame_rank.load_judge(trained)
    for row, example in zip(
        encode(base.form, ASKED, words, max_input=256, max_target=8, responses="separate"), words, strict=True
    ):
        problem = flame_rank.Problem(prompt=example.values[0], candidates=list(example.values[1:]))
        assert list(row.source) == judge.tokens(problem, 0, 1) and row.pieces is not None and not row.cut
        ends = np.cumsum([0, *row.pieces]).tolist()
        prompt, *responses = [base.form.text(row.source[i:j]) for i, j in pairwise(ends)]
        assert prompt.endswith("response:") and ends[-1] == len(row.source)
        assert [text.partition("\n\nEVALUATION:")[0] for text in responses] == [*example.values[1:]]
        assert row.target == (judge.verdict_ids["AB".index(str(example.label))],)


def test_the_judge_says_what_the_training_says(trained: Path, base: base_model.Base, words: list[Example]) -> None:
    judge: Any = flame_rank.load_judge(trained)
    model = nnx.merge(base.graph, base.read(trained, MESH))
    problems = [flame_rank.Problem(prompt=w.values[0], candidates=list(w.values[1:])) for w in words]
    judged = np.array([row[0] for row in judge.judge([(p, np.array([[0, 1]])) for p in problems])])
    assert judge.pointwise and np.ptp(judged) > 1e-3
    mass = np.array([float(judge.verdict_mass(problem, np.array([[0, 1]]))[0]) for problem in problems])
    of_each = judge.kernel.log_probs(
        [path for p in problems for path in (judge.path(p, 0), judge.path(p, 1))], judge.verdict_ids
    )
    answered = np.logaddexp.reduce(of_each, 1).reshape(-1, 2)  # log of P(A) + P(B)
    np.testing.assert_allclose(mass, np.exp(answered).mean(1), rtol=1e-4)
    for verdict, odds in zip(judge.verdict_ids, (judged, -judged), strict=True):
        rows = [base_rows._replace(target=np.array([verdict], np.int32)) for base_rows in _rows(base, words)]
        batch = jax.tree.map(lambda x: x[0], collate(rows, 1, joined=True))
        costs, right = losses(model, batch)
        expected = np.logaddexp(0, -odds) - answered.mean(1)  # minus the logs of its probability and of being asked
        np.testing.assert_allclose(costs[:, 0], expected, atol=1e-4)
        np.testing.assert_array_equal(right[:, 0], odds >= 0)
    # The evaluation of a task asks in the same form, here in both orders.
    answers = list(ask(judge, ASKED, words))
    both = np.array([(row[0] - row[1]) / 2 for row in judge.judge([(p, np.array([[0, 1], [1, 0]])) for p in problems])])
    np.testing.assert_array_equal(both, judged)  # the order makes no difference
    assert not any(answer.flipped for answer in answers)
    np.testing.assert_allclose([float(answer.mass or 0) for answer in answers], mass, rtol=1e-4)
    np.testing.assert_allclose([answer.p[0] for answer in answers], 1 / (1 + np.exp(-both)), atol=1e-5)


def _rows(base: base_model.Base, words: list[Example]) -> list[Row]:
    encoded = encode(base.form, ASKED, words, max_input=256, max_target=8, responses="separate")
    verdicts = base.form.separate_frame(PAIRWISE).verdicts
    return [
        Row(np.array(e.source, np.int32), np.array(e.target, np.int32), pieces=e.pieces, verdicts=verdicts)
        for e in encoded
    ]


def test_all_fields_but_the_responses_are_shared(trained: Path, base: base_model.Base, words: list[Example]) -> None:
    task = replace(ASKED, fields=("article", "requirement"))
    given = [replace(word, values=("an article", *word.values)) for word in words]
    encoded = encode(base.form, task, given, max_input=400, max_target=8, responses="separate")
    for row, example in zip(encoded, given, strict=True):
        assert row.pieces is not None and sum(row.pieces) == len(row.source) and not row.cut
        prompt = base.form.text(row.source[: row.pieces.prompt])
        assert prompt.endswith(f"article: an article\nrequirement: {example.values[1]}\nresponse:")
    assert not any(answer.flipped for answer in ask(flame_rank.load_judge(trained), task, given))


def test_long_responses_are_cut_one_by_one(trained: Path, words: list[Example]) -> None:
    judge: Any = flame_rank.load_judge(trained, max_length=280)
    long = [
        replace(word, values=(word.values[0], word.values[1] * (1 + 40 * k), word.values[2] * 40))
        for k, word in enumerate(words[:3])
    ]
    problems = [flame_rank.Problem(prompt=w.values[0], candidates=list(w.values[1:])) for w in long]
    odds = np.array([row[0] for row in judge.judge([(p, np.array([[0, 1]])) for p in problems])])
    answers = list(ask(judge, ASKED, long))
    assert [judge.notes(problem).truncated for problem in problems] == [1, 2, 2]
    np.testing.assert_allclose([answer.p[0] for answer in answers], 1 / (1 + np.exp(-odds)), atol=1e-5)
    assert not any(answer.flipped for answer in answers)


def test_a_tie_is_asked(trained: Path, words: list[Example]) -> None:
    tied = [replace(word, target=" tie", label="tie") for word in words]
    judge = flame_rank.load_judge(trained)
    assert [a.p for a in ask(judge, ASKED, tied)] == [a.p for a in ask(judge, ASKED, words)]


def test_rows_on_disk_keep_their_pieces(base: base_model.Base, words: list[Example], tmp_path: Path) -> None:
    made, again = (
        build(base.form, "id", ASKED, lambda: iter(words), tmp_path, max_input=256, max_target=8, responses="separate")
        for _ in range(2)
    )
    for k, row in enumerate(_rows(base, words)):
        assert made[k].pieces == again[k].pieces == row.pieces and np.array_equal(made[k].source, row.source)
        assert made[k].verdicts == again[k].verdicts == row.verdicts and np.array_equal(made[k].target, row.target)
    joint = build(base.form, "id", ASKED, lambda: iter(words), tmp_path, max_input=256, max_target=8)
    assert joint[0].pieces is None and len(joint[0].source) != len(made[0].source)


def test_the_accuracy_during_a_training_is_the_judges(
    trained: Path, base: base_model.Base, words: list[Example], tmp_path: Path
) -> None:
    judge: Any = flame_rank.load_judge(trained)
    rows = build(
        base.form, "id", ASKED, lambda: iter(words), tmp_path, max_input=256, max_target=8, responses="separate"
    )
    right = right_answers(Training(base_model.load(trained, MESH, responses="separate"), SMALL, MESH), rows)
    preferred = ["AB"[int(answer.p[1] > 0.5)] for answer in ask(judge, ASKED, words)]
    assert right.tolist() == [choice == word.label for choice, word in zip(preferred, words, strict=True)]
    assert 0 < right.sum() < len(words)
    broken = Training(base_model.load(trained, MESH, responses="separate"), SMALL, MESH)
    broken.state = broken.state._replace(trained=jax.tree.map(lambda x: x * np.nan, broken.state.trained))
    assert not right_answers(broken, rows).any()


def test_a_step_changes_what_it_reads_in_this_form(base: base_model.Base, words: list[Example]) -> None:
    training = Training(base, replace(SMALL, lora=2, rate=3e-2, dropout=0.0), MESH)
    rows = _rows(base, words)[:8]
    losses_seen = [float(training.step(rows).loss) for _ in range(15)]
    assert losses_seen[-1] < losses_seen[0] / 2


def test_t5_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--responses separate is for decoders"):
        base_model.load(checkpoint(tmp_path / "t5", "t5"), MESH, responses="separate")


@pytest.mark.full
def test_the_command_trains_a_judge_of_this_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "TASKS", (ASKED,))
    folder = train(
        checkpoint(tmp_path / "b"),
        data=write_words(tmp_path / "data", 40),
        out=tmp_path / "run",
        recipe=Recipe(steps=3, batch=4, share=2, by_length=True, max_input=256, max_target=8),
        examples=ExampleOptions(responses="separate", both_orders=True),
    )
    assert type(flame_rank.load_judge(folder)) is SeparateJudge
