"""Rows are the judge's own tokens; what is too long is cut as the judge cuts, or left out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_training import TASK, write_words

import flame_rank
from flame_rank.prompts.format import Format, frame
from flame_rank.prompts.instructions import PAIRWISE, PAIRWISE_CONTEXT
from trainer.collection.examples import Example, examples
from trainer.finetune import base_model
from trainer.finetune.tokenized_rows import build, encode


def test_input_and_target_are_the_judges_own_tokens(folder: Path, base: base_model.Base) -> None:
    judge: Any = flame_rank.load_judge(folder)
    problem = flame_rank.Problem(prompt="What is 2 + 2?", candidates=["It is 4.", "Five \n"])
    task = replace(TASK, title=PAIRWISE.title, description=PAIRWISE.description)
    pieces = tuple(frame(PAIRWISE, PAIRWISE_CONTEXT))
    texts = [problem.prompt, *problem.texts]
    made = [Example(task="t", pieces=pieces, values=tuple(texts), target=f" {letter}", label=letter) for letter in "AB"]
    found = list(encode(base.form, task, made, max_input=2048, max_target=8))
    for (of_input, target, _, cut), verdict in zip(found, judge.verdict_ids, strict=True):
        assert list(of_input) == judge.tokens(problem, 0, 1) and target[0] == verdict and not cut
        assert len(target) == 2 and target[1] in base.form.eos


def test_what_is_too_long_is_cut_as_the_judge_cuts(folder: Path, base: base_model.Base) -> None:
    judge: Any = flame_rank.load_judge(folder, max_length=300)
    problem = flame_rank.Problem(prompt="p " * 100, candidates=["a b " * 200, "short"])
    task = replace(TASK, title=PAIRWISE.title, description=PAIRWISE.description)
    pieces = tuple(frame(PAIRWISE, PAIRWISE_CONTEXT))
    made = Example(task="t", pieces=pieces, values=(problem.prompt, *problem.texts), target=" A", label="A")
    ((of_input, _, _, cut),) = encode(base.form, task, [made], max_input=300, max_target=8)
    assert list(of_input) == judge.tokens(problem, 0, 1) and cut and len(of_input) <= 300
    long = replace(task, kind="generative", fields=("x", "y"), labels=())
    values = ("w " * 400, "v " * 90)
    free = Example(task="t", pieces=pieces, values=values, target=" t " + "u " * 99, label="")
    ((of_input, target, _, cut),) = encode(base.form, long, [free], max_input=300, max_target=8)
    assert cut and len(of_input) <= 300 and len(target) == 8
    with pytest.raises(ValueError, match="its instructions take"):
        list(encode(base.form, task, [made], max_input=64, max_target=8))


def test_rows_of_another_template_are_others(base: base_model.Base, tmp_path: Path) -> None:
    data = write_words(tmp_path, 3)
    chat = Format(base.form.tokenizer, chat=("user: ", "\nassistant:"))
    sizes: dict[str, Any] = {"max_input": 256, "max_target": 8}
    plain, others, again = (
        build(form, "i", TASK, lambda: examples(TASK, data), tmp_path / "rows", **sizes)
        for form in (base.form, chat, base.form)
    )
    assert len(others[0].source) > len(plain[0].source) == len(again[0].source)


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
