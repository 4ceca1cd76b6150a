"""Reward models behind a server: one score for each candidate, differences as log-odds."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import servers
from servers import HOSTED, running

import flame_rank
from flame_rank.errors import UserError
from flame_rank.judges.base import notes
from flame_rank.ranking.reranker import Reranker
from flame_rank.records import Problem

pytest.importorskip("openai")
pytestmark = pytest.mark.loopback

TEXTS = ["It is 4.", "4, as 2 + 2 = 4.", "no"]
PAIRS = np.array(list(permutations(range(len(TEXTS)), 2)))
TEMPLATE = frozenset({"tokenize", "chat tokens"})


def load(server: servers.Server, **options: Any) -> Any:
    return servers.load(server, prefix="reward:", **options)


def problem() -> Problem:
    return Problem(prompt="2 + 2?", candidates=TEXTS)


@pytest.mark.parametrize(
    ("abilities", "path"),
    [
        (TEMPLATE | {"rewards of vLLM"}, "rewards of vLLM's /classify"),
        (TEMPLATE | {"rewards of SGLang"}, "rewards of SGLang's /classify"),
        (frozenset({"scores"}), "scores of /score"),
        (frozenset({"rerank"}), "scores of /rerank"),
    ],
)
def test_rewards(abilities: frozenset[str], path: str) -> None:
    with running(abilities) as server:
        judge = load(server, scale=2)
        assert judge.name.startswith(f"reward:m@{server.url}/v1 ({path})") and judge.pointwise
        server.seen.clear()
        asked = problem()
        [answers] = judge.judge([(asked, PAIRS)])
        rewards = [servers.reward(text) for text in TEXTS]
        np.testing.assert_allclose(answers, [2 * (rewards[i] - rewards[j]) for i, j in PAIRS])
        judge.judge([(asked, PAIRS)])
        assert sum(path != "/tokenize" for path, _ in server.seen) == len(TEXTS)  # each candidate once
        assert Reranker(judge).rank(problem()).order == [1, 0, 2]


def test_a_conversation_goes_through_the_models_template() -> None:
    with running(TEMPLATE | {"rewards of vLLM"}) as server:
        judge = load(server)
        server.seen.clear()
        prompt = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
        asked = Problem(prompt=[*prompt, {"role": "user", "content": "2 + 2?"}], candidates=["4", "5"])  # type: ignore[arg-type]
        judge.judge([(asked, np.array([[0, 1]]))])
        turns = next(body["messages"] for path, body in server.seen if path == "/tokenize")
        assert [(turn["role"], turn["content"]) for turn in turns] == [
            *[("user", "Hi"), ("assistant", "Yes?"), ("user", "2 + 2?")],
            ("assistant", turns[-1]["content"]),
        ]


def test_failures_are_not_rewards() -> None:
    with running(frozenset({"scores"})) as server:
        judge = load(server, retries=0)
        server.fault = lambda number: ["shape", "garbage", None][number % 3]
        asked = problem()
        [answers] = judge.judge([(asked, PAIRS)])
        assert np.isnan(answers).sum() >= 4
        assert notes(judge, asked).broken and "an answer that cannot be read" in notes(judge, asked).failures[0]


def test_a_server_without_rewards_is_refused() -> None:
    with running(HOSTED) as server:
        with pytest.raises(UserError, match="it gives no rewards"):
            load(server)
        with pytest.raises(UserError, match="takes no criteria"):
            flame_rank.load_judge(f"reward:m@{server.url}", criteria="short")
