"""Which texts decline to answer."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_rank.candidates.refusals import is_refusal
from trainer.default_judge.corruptions import _REFUSALS

DECLINES = [
    *_REFUSALS,
    "I can\N{RIGHT SINGLE QUOTATION MARK}t assist with that.",
    "I cannot, in good conscience, provide a recipe for this.",
    "I won't help you with breaking into a car. Here is a story instead.",
    "I apologize, but I am not able to discuss it.",
    "As a language model, I don't have opinions.",
    "It is against our guidelines to say so.",
    "That violates my programming, so no.",
    "We are unable to answer this.",
    "We're not going to discuss it.",
    "i can not tell you where he lives",
    "Sure?\n\nNo: I will not write that.",
]
ANSWERS = [
    "",
    "I can help with that: first, open the door.",
    "I can't wait to tell you how it ends.",
    "I cannot swim, but my sister can.",
    "You can't help it; nobody can provide for everything.",
    "He was sorry to hear that. He said that it would rain.",
    "The policy violates their rules.",
    "A language model is not a person.",
    "Sorry about the delay. The answer is 4.",
    "It lies on the Seine. " * 20 + "I'm sorry, but I can't help with that.",
]


@pytest.mark.parametrize("text", DECLINES)
def test_declines(text: str) -> None:
    assert is_refusal(text)
    assert is_refusal(text.upper())


@pytest.mark.parametrize("text", ANSWERS)
def test_answers(text: str) -> None:
    assert not is_refusal(text)


@given(text=st.text(), before=st.sampled_from(["", " ", "\n", '"', "Hm. "]))
def test_only_the_beginning_is_read(text: str, before: str) -> None:
    assert is_refusal(text) in (True, False)
    assert is_refusal(f"{before}I cannot help with that. {text}")
    assert is_refusal("x" * 300 + text) == is_refusal("x" * 300)


def test_a_long_text_takes_no_time() -> None:
    start = time.perf_counter()
    assert not is_refusal("i can " * 1_000_000)
    assert time.perf_counter() - start < 1
