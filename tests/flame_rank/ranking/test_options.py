"""A ranking's options are the keywords of `Reranker`, and what its docstring says of them is their help."""

import inspect
from dataclasses import fields

import flame_rank
from flame_rank.fields import KEY
from flame_rank.ranking.options import RankingOptions


def test_the_door_has_the_fields_as_its_keywords() -> None:
    judge, *keywords = inspect.signature(flame_rank.Reranker).parameters.values()
    assert judge.name == "judge"
    assert {word.name: word.default for word in keywords} == {f.name: f.default for f in fields(RankingOptions)}
    assert [word.name for word in keywords if word.kind is not word.KEYWORD_ONLY] == ["strategy"]


def test_the_docstring_has_their_help() -> None:
    words = " ".join((inspect.getdoc(flame_rank.Reranker.__init__) or "").split())
    assert all(" ".join(f.metadata[KEY].help.split()) in words for f in fields(RankingOptions))
    assert "order: Ask about a pair in both orders" in words and "Default: both." in words and "{options}" not in words
