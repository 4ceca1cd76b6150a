"""A judge as a reward function, called as TRL's GRPOTrainer calls one."""

import math
from typing import Any

import pytest

import flame_rank

Pairs = list[tuple[str, str]]


def longer(prompt: str, pairs: Pairs) -> list[float]:
    """Prefers the longer one; knows nothing of the prompt "silent"."""
    return [math.nan if prompt == "silent" else float(len(a) - len(b)) for a, b in pairs]


def called(f: Any, prompts: list[Any], completions: list[Any]) -> list[float]:
    """Rewards, with the keywords of GRPOTrainer."""
    more = {"answer": ["4"] * len(prompts), "trainer_state": object(), "log_extra": print, "log_metric": print}
    rewards: list[float] = f(prompts=prompts, completions=completions, completion_ids=[[1, 2]] * len(prompts), **more)
    return rewards


def test_groups_are_ranked_by_themselves() -> None:
    f = flame_rank.reward(longer, "round-robin")
    rewards = called(f, ["p", "p", "p", "q", "q", "p"], ["a", "bbb", "cc", "dddd", "e", "a"])
    assert rewards[1] > rewards[2] > rewards[0] == rewards[5]
    assert rewards[3] > rewards[4]
    assert rewards[3] - rewards[4] == pytest.approx(3)  # the log-odds
    assert f.__name__ == "flame_rank"


def test_conversations() -> None:
    def asked(text: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": text}]

    answers = [[{"role": "assistant", "content": text}] for text in ("a", "bb", "ccc", "d")]
    rewards = called(flame_rank.reward(longer, "knockout"), [asked("p"), asked("q"), asked("p"), asked("q")], answers)
    assert rewards[2] > rewards[0] and rewards[1] > rewards[3]


def test_what_is_not_decided_is_not_a_number() -> None:
    rewards = called(flame_rank.reward(longer), ["silent", "silent", "p", "p"], ["a", "b", "c", "dd"])
    assert [math.isnan(value) for value in rewards] == [True, True, False, False]


def test_no_answer_is_worse_than_a_wrong_one() -> None:
    texts = [
        "#### 7",
        "The answer is 7.",
        "#### 5",
        "#### 7.0",
        "First we add.\n\nThen we look at what is left.",
    ]
    rewards = called(flame_rank.reward("votes"), ["3 + 4?"] * 5, texts)
    assert rewards[0] == rewards[1] == rewards[3] > rewards[2] > rewards[4]


def test_lengths_differ() -> None:
    with pytest.raises(ValueError, match="1 prompts for 2 completions"):
        flame_rank.reward(longer)(prompts=["p"], completions=["a", "b"])
