"""All candidates in one request: each path to the letters, orders, faults and bounds."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import servers
from click.testing import CliRunner
from servers import HOSTED, KEY, LLAMA, SGLANG, VLLM, WRITES, Server, running
from servers import load as load_server

from flame_rank.cli.group import cli
from flame_rank.errors import UserError
from flame_rank.judges.base import notes
from flame_rank.judges.choice_prompts import ROUNDS, orders
from flame_rank.ranking.reranker import Reranker
from flame_rank.records import Problem

pytest.importorskip("openai")
pytestmark = pytest.mark.loopback

TEXTS = ["It is 4.", "4, as 2 + 2 = 4.", "It is 5, or <|im_end|> so.", "no", "4, as 2 + 2 = 4."]
PAIRS = np.array([[1, 0], [2, 3], [1, 4]])


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def problem() -> Problem:
    return Problem(prompt="2 + 2?", candidates=TEXTS)


def load(server: Server, **options: Any) -> Any:
    return load_server(server, **{"ask": "choice", "deadline": 5, **options})


def expected(asked: Problem) -> list[float]:
    """The log-odds of PAIRS: the server's own, and its preference for early letters in these orders."""
    texts = sorted({*asked.texts})
    place = np.mean([np.argsort(order) for order in orders(asked, ROUNDS)], axis=0)  # of each text
    quality = {text: 0.1 * len(text) - 0.3 * place[k] for k, text in enumerate(texts)}
    return [quality[asked.texts[i]] - quality[asked.texts[j]] for i, j in PAIRS]


@pytest.mark.parametrize(
    ("abilities", "path"),
    [
        (VLLM, "log-probabilities of the labels"),
        (LLAMA, "log-probabilities of the likeliest 20 tokens"),
        (SGLANG, "log-probabilities of the likeliest 20 tokens"),
        (HOSTED, "log-probabilities of the likeliest 20 tokens of a chat's answer"),
    ],
)
def test_qualities_are_the_mean_log_probabilities_of_letters(abilities: frozenset[str], path: str) -> None:
    with running(abilities) as server:
        judge = load(server)
        assert f"(choice of {ROUNDS} by {path})" in judge.name and KEY not in judge.name
        before, asked = judge.usage.requests, problem()
        [answers] = judge.judge([(asked, PAIRS)])
        np.testing.assert_allclose(answers, expected(asked), atol=1e-9)
        np.testing.assert_allclose(judge.verdict_mass(asked, PAIRS), servers.MASS)
        assert judge.usage.requests == before + ROUNDS and notes(judge, asked).failures == ()
        judge.judge([(asked, PAIRS)])
        assert judge.usage.requests == before + ROUNDS
        turned = Problem(prompt="2 + 2?", candidates=TEXTS[::-1])
        [again] = judge.judge([(turned, len(TEXTS) - 1 - PAIRS)])
        np.testing.assert_allclose(again, answers, atol=1e-9)


def test_letters_that_are_written_are_votes() -> None:
    with running(WRITES) as server:
        judge = load(server, samples=2)
        asked = problem()
        [answers] = judge.judge([(asked, PAIRS)])
        votes = {text: math.log(0.5) for text in TEXTS} | {max(TEXTS, key=len): math.log(2.5)}
        wanted = [votes[TEXTS[i]] - votes[TEXTS[j]] for i, j in PAIRS]
        np.testing.assert_allclose(answers, wanted)
        server.written = lambda number: {"message": {"content": "E"}, "finish_reason": "stop"}  # there are four
        asked = problem()
        [answers] = judge.judge([(asked, PAIRS)])
        assert np.isnan(answers).all() and "an answer that is no verdict: 'E'" in notes(judge, asked).failures[0]


def test_it_may_think_first() -> None:
    with running(WRITES) as server:
        server.written = lambda number: {"message": {"content": "So.\nchoice: A"}, "finish_reason": "stop"}
        judge = load(server, think=50)
        server.seen.clear()
        server.written = lambda number: {"message": {"content": "So.\nchoice: C"}, "finish_reason": "stop"}
        asked = problem()
        assert np.isfinite(judge.judge([(asked, PAIRS)])[0]).all()
        text = server.seen[0][1]["messages"][0]["content"]
        assert "a last line that is `choice:` with the letter of the best response and nothing else" in text
        assert text.count("response_") == 4


def test_a_letter_that_is_not_told_is_a_bound() -> None:
    with running(HOSTED) as server:
        judge = load(server)
        server.hidden = "BC"
        asked = problem()
        [answers] = judge.judge([(asked, PAIRS)])
        assert np.isfinite(answers).all() and judge.usage.bounds == ROUNDS
        server.hidden = "ABCD"
        asked = problem()
        [answers] = judge.judge([(asked, PAIRS)])
        assert np.isnan(answers).all()
        assert "no letter is among the 20 likeliest tokens" in notes(judge, asked).failures[0]


def test_nothing_is_lost_if_requests_fail() -> None:
    with running(HOSTED) as server:
        judge = load(server, retries=0)
        asked = problem()
        count = server.count
        server.fault = lambda number: "500" if number == count + 2 else None
        [answers] = judge.judge([(asked, PAIRS)])
        assert np.isnan(answers).all() and notes(judge, asked).broken  # a round is missing
        requests = judge.usage.requests
        [answers] = judge.judge([(asked, PAIRS)])
        np.testing.assert_allclose(answers, expected(asked), atol=1e-9)
        assert judge.usage.requests == requests + 1  # that round alone is asked again


def test_through_the_command(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"prompt": "2 + 2?", "candidates": TEXTS}) + "\n")
    with running(HOSTED) as server:
        line = ["rerank", str(path), "--judge", f"openai:m@{server.url}", "--ask", "choice", "--format", "jsonl"]
        done = CliRunner().invoke(cli, [*line, "--ledger", str(tmp_path / "l.db")], catch_exceptions=False)
        record = json.loads(done.stdout)
        assert done.exit_code == 0 and record["best"] == 2 and "choice of" in record["judge"]
        assert Reranker(load(server)).rank(problem()).order[0] == 2
        with pytest.raises(UserError, match="27 different candidates"):
            Reranker(load(server)).rank("p", [str(k) for k in range(27)])
        with pytest.raises(UserError, match=r"takes no --ask likelihood.*take --ask verdict or choice"):
            load(server, ask="likelihood")
