"""A judge's options are the keywords of `load_judge`, and what its docstring says of them is their help."""

import inspect
from dataclasses import fields

import flame_rank
from flame_rank.fields import KEY
from flame_rank.judges.options import JudgeOptions


def test_the_door_has_the_fields_as_its_keywords() -> None:
    spec, *keywords = inspect.signature(flame_rank.load_judge).parameters.values()
    assert spec.name == "spec" and all(word.kind is word.KEYWORD_ONLY for word in keywords)
    assert {word.name: word.default for word in keywords} == {f.name: f.default for f in fields(JudgeOptions)}


def test_the_docstring_has_their_help() -> None:
    words = " ".join((inspect.getdoc(flame_rank.load_judge) or "").split())
    assert all(" ".join(f.metadata[KEY].help.split()) in words for f in fields(JudgeOptions))
    assert "max_length: Read at most this many tokens" in words and "{options}" not in words
