"""Judges that think before their verdict: within a budget, in a fixed form, and never a verdict by default."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import HOSTED, WRITES, Server, running
from servers import load as load_server

import flame_rank
from flame_rank.errors import UserError
from flame_rank.judges.base import notes
from flame_rank.judges.server import address, verdicts
from flame_rank.judges.server.thinking import SWITCHES, switches
from flame_rank.judges.written import from_votes, verdict_after_reasons
from flame_rank.ranking.reranker import Reranker
from flame_rank.records import Problem

pytest.importorskip("openai")

PAIR = np.array([[0, 1]])


def problem() -> Problem:
    return Problem(prompt="2 + 2?", candidates=["It is 4.", "It is 5."])


def says(content: str, *, finish: str = "stop", **message: Any) -> dict[str, Any]:
    return {"message": {"content": content, **message}, "finish_reason": finish}


def load(server: Server, **options: Any) -> Any:
    server.written = lambda number: says("It is so.\nchoice: A")
    judge = load_server(server, **{"think": 100, "retries": 0, **options})
    server.seen.clear()
    return judge


@pytest.mark.loopback
def test_reasons_come_first_and_are_kept() -> None:
    with running(WRITES) as server:
        judge = load(server)
        assert "(1 drawn verdict, each after 100 tokens of thought at most)" in judge.name
        server.written = lambda number: says("4 is right.\n\n**choice: A**", reasoning="Let me add.")
        ranking = Reranker(judge, "knockout", order="fixed", explain=True).rank(problem())
        assert ranking.order == [0, 1]
        assert ranking.explanation == "Let me add.\n\n4 is right."
        [(_, body)] = server.seen  # the words were kept, and nothing more was asked
        assert body["max_tokens"] == 132 and body["temperature"] == 1.0
        assert body["chat_template_kwargs"] == {"enable_thinking": True, "thinking": True}
        text = body["messages"][0]["content"]
        assert "output_fields: explanation, choice" in text and "`choice: A` or `choice: B`" in text
        assert text.endswith("EVALUATION:\nexplanation:")


@pytest.mark.loopback
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (says("I think and think", finish="length"), "no verdict within 132 tokens"),
        (says("choice: A", finish="length"), "no verdict within 132 tokens"),
        (says("<think>choice: A"), "an answer that is no verdict"),
        (says("choice: A\nor else B"), "an answer that is no verdict: 'choice: A or else B'"),
        (says("choice: A or B"), "an answer that is no verdict"),
        (says("A"), "an answer that is no verdict: 'A'"),
        (says(""), "an answer that is no verdict: ''"),
    ],
)
def test_no_verdict_is_invalid(answer: dict[str, Any], reason: str) -> None:
    with running(WRITES) as server:
        judge = load(server)
        server.written = lambda number: answer
        asked = problem()
        [log_odds] = judge.judge([(asked, PAIR)])
        assert np.isnan(log_odds).all()
        [why] = notes(judge, asked).failures
        assert why.startswith(reason) and not notes(judge, asked).broken


@pytest.mark.loopback
def test_samples_are_averaged_in_log_odds() -> None:
    def written(number: int) -> dict[str, Any]:
        odds = [3.0, -1.0, 0.5][number % 3]
        verdict = "A" if odds > 0 else "B"
        p = [-math.log1p(math.exp(-sign * odds)) for sign in (1, -1)]
        top = [{"token": f" {name}", "logprob": value} for name, value in zip("AB", p, strict=True)]
        entries = [{"token": "A", "logprob": -0.1, "top_logprobs": []}, {"token": f" {verdict}", "top_logprobs": top}]
        return {**says(f"A is what is asked first.\nchoice: {verdict}"), "logprobs": {"content": entries}}

    with running(HOSTED) as server:
        judge = load(server, samples=3)
        server.count, server.written = 0, written
        [log_odds] = judge.judge([(problem(), PAIR)])
        np.testing.assert_allclose(log_odds, [2.5 / 3])


@pytest.mark.loopback
def test_a_model_that_reaches_no_verdict_is_refused() -> None:
    with running(WRITES) as server:
        server.written = lambda number: says("Hmm", finish="length")
        with pytest.raises(UserError, match="no verdict within 42 tokens"):
            flame_rank.load_judge(f"openai:m@{server.url}#think=10")


def test_each_service_gets_its_own_switch() -> None:
    assert switches("https://api.openai.com/v1", think=True, effort="high")[0] == {"reasoning_effort": "high"}
    assert switches("https://api.openai.com/v1", think=False, effort=None)[0] == {"reasoning_effort": "none"}
    assert switches("https://api.deepseek.com", think=False, effort=None)[0] == {"thinking": {"type": "disabled"}}
    assert switches("https://notopenai.com/v1", think=True, effort=None) == [
        {"chat_template_kwargs": SWITCHES["chat_template_kwargs"][0]},
        {},
    ]


@given(st.text(), st.sampled_from("AB"))
def test_only_the_last_line_counts(words: str, letter: str) -> None:
    words = words.replace("<think>", "").replace("</think>", "")
    assert verdict_after_reasons(f"{words}\nchoice: {letter}\n") == letter
    assert verdict_after_reasons(f"<think>{words}</think>choice: {letter}") == letter
    assert verdict_after_reasons(f"choice: {letter}\n{words} so") is None
    assert verdict_after_reasons(f"<think>{words}\nchoice: {letter}") is None


@given(st.floats(1e-12, 1 - 1e-12), st.integers(0, 50), st.integers(0, 50))
def test_log_odds_of_shares_and_votes(share: float, a: int, b: int) -> None:
    assert verdicts.from_share(share).log_odds == pytest.approx(math.log(share / (1 - share)), abs=1e-6)
    assert from_votes(a, b) == -from_votes(b, a)
    assert math.isfinite(from_votes(a, b)) and (from_votes(a, b) > 0) == (a > b)
    for wrong in (-0.1, 1.1, None, "1", True, math.nan):
        with pytest.raises(ValueError):
            verdicts.from_share(wrong)


def test_what_a_server_calls_impossible_is_a_bound() -> None:
    def read(a: float, b: float | None) -> Any:
        top = [{"token": "A", "logprob": a}, *([] if b is None else [{"token": "B", "logprob": b}])]
        tokens = verdicts.at_position({"token": "A", "logprob": a, "top_logprobs": top})
        return verdicts.from_tokens(tokens, lambda token: token.text == "A", lambda token: token.text == "B")

    for b in (-9999.0, float("-inf"), None):
        judgement = read(0.0, b)
        assert judgement.bound and 16 < judgement.log_odds < 17  # no tie, and no 9999
    assert read(-1e-4, None).log_odds == pytest.approx(9.2, abs=0.1)


@pytest.mark.parametrize(
    ("key", "url", "said"),
    [
        ("sk-SECRET\n", "http://localhost:1", None),
        ("sk-SECRET\x07x", "http://localhost:1", "OPENAI_API_KEY holds characters"),
        ("sk-SECRETé", "http://localhost:1", "OPENAI_API_KEY holds characters"),
        ("", "http://[::1", "it is not a URL"),
        ("", "http://localhost:80a", "it is not a URL"),
    ],
)
def test_keys_and_addresses_that_cannot_be(
    key: str, url: str, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    if said is None:
        assert address.parse(f"openai:m@{url}")[0].key == key.strip()
        return
    with pytest.raises(UserError, match=said) as caught:
        address.parse(f"openai:m@{url}")
    assert "SECRET" not in str(caught.value)


def test_options_of_a_judge_are_checked_in_python_too() -> None:
    for name, value in (("ask", "verdcit"), ("on_long", "cutt"), ("dtype", "float16"), ("max_length", "512")):
        wrong: Any = {name: value}
        with pytest.raises(UserError, match=f"{name} is '{value}'; it must be"):
            flame_rank.load_judge("agreement", **wrong)
