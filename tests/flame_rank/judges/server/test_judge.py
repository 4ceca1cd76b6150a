"""The judge behind a server: every path gives the model's log-odds, and what fails is invalid and said."""

import json
import math
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import servers
from servers import HOSTED, KEY, LLAMA, SGLANG, VLLM, WRITES, Server, running
from servers import load as load_server

import flame_rank
from flame_rank.errors import UserError
from flame_rank.judges.base import notes
from flame_rank.ranking.reranker import Reranker
from flame_rank.records import Problem

pytest.importorskip("openai")
pytestmark = pytest.mark.loopback

TEXTS = ["It is 4.", "4, as 2 + 2 = 4.", "It is 5, or <|im_end|> so.", "no"]
PAIRS = np.array(list(permutations(range(len(TEXTS)), 2)))


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def problem(name: str = "") -> Problem:
    return Problem(prompt=f"2 + 2? {name}", candidates=TEXTS, name=name)


def load(server: Server, **options: Any) -> Any:
    return load_server(server, **{"deadline": 5, **options})


def expected(pairs: Any = PAIRS) -> list[float]:
    return [servers.log_odds(TEXTS[i], TEXTS[j]) for i, j in pairs]


@pytest.mark.parametrize(
    ("abilities", "path"),
    [
        (SGLANG, "label scores of SGLang"),
        (VLLM, "label scores of vLLM"),
        (VLLM - {"generative_scoring"}, "log-probabilities of the labels"),
        (LLAMA, "log-probabilities of the likeliest 20 tokens"),
        (SGLANG - {"score"}, "log-probabilities of the likeliest 20 tokens"),
        (HOSTED, "log-probabilities of the likeliest 20 tokens of a chat's answer"),
    ],
)
def test_the_best_path_gives_the_models_log_odds(abilities: frozenset[str], path: str) -> None:
    with running(abilities) as server:
        judge = load(server)
        assert judge.path.name == path and path in judge.name and KEY not in judge.name
        asked = problem()
        [answers] = judge.judge([(asked, PAIRS)])
        np.testing.assert_allclose(answers, expected(), atol=1e-9)
        mass = judge.verdict_mass(asked, PAIRS)
        if path == "label scores of vLLM":
            assert np.isnan(mass).all()
        else:
            np.testing.assert_allclose(mass, servers.MASS)
        assert notes(judge, asked).failures == ()
        assert judge.usage.prompt_tokens > 0


def test_label_scores_take_one_request_for_each_first_response() -> None:
    with running(SGLANG) as server:
        judge = load(server)
        server.seen.clear()
        judge.judge([(problem(), PAIRS)])
        bodies = [body for path, body in server.seen if path == "/v1/score"]
        assert [len(body["items"]) for body in bodies] == [3, 3, 3, 3]
        start = servers.decode(bodies[0]["query"])
        assert start.startswith(servers.BEFORE + "INSTRUCTIONS:") and start.endswith("\nresponse_b: ")


@pytest.mark.parametrize("most_choices", [8, 1])
def test_verdicts_are_drawn_and_counted(most_choices: int) -> None:
    with running(WRITES) as server:
        server.most_choices = most_choices
        judge = load(server, samples=4)
        assert "4 drawn verdicts" in judge.name
        [answers] = judge.judge([(problem(), PAIRS)])
        votes = [math.copysign(math.log(4.5 / 0.5), odds) for odds in expected()]
        np.testing.assert_allclose(answers, votes)
        # Of four votes one is no verdict, and one is for the other.
        said = ["A", "B", "A.", "Both are good: A"]
        server.written = lambda number: {"message": {"content": said[number % 4]}, "finish_reason": "stop"}
        [answers] = judge.judge([(problem(), PAIRS[:1])])
        np.testing.assert_allclose(answers, [math.log(2.5 / 1.5)])
        server.written = lambda number: {"message": {"content": "I cannot say"}, "finish_reason": "stop"}
        asked = problem()
        [answers] = judge.judge([(asked, PAIRS[:1])])
        assert np.isnan(answers).all()
        assert notes(judge, asked).failures == ("an answer that is no verdict: 'I cannot say'",)


def test_a_label_outside_the_likeliest_is_a_bound_or_invalid() -> None:
    with running(HOSTED) as server:
        judge = load(server)
        server.hidden = "B"
        asked = problem()
        [answers] = judge.judge([(asked, PAIRS)])
        a = np.array([-math.log1p(math.exp(-odds)) + math.log(servers.MASS) for odds in expected()])
        told = [servers.Server(HOSTED)]
        told[0].hidden = "B"
        for (i, j), answer, log_p in zip(PAIRS, answers, a, strict=True):
            text = f"\nresponse_a: {TEXTS[i]}\nresponse_b: {TEXTS[j]}\n\nEVALUATION:"
            least = min(p for _, _, p in told[0].entries(text, 20))
            assert 0 < answer <= log_p - least + 1e-9  # as large as the answer allows, never larger
        assert judge.usage.bounds == len(PAIRS)
        server.hidden = "AB"
        asked = problem()
        [answers] = judge.judge([(asked, PAIRS[:2])])
        assert np.isnan(answers).all()
        assert "neither A nor B is among the 20 likeliest tokens" in notes(judge, asked).failures[0]


def test_more_tokens_are_asked_for_only_if_a_label_is_missing() -> None:
    with running(LLAMA) as server:
        server.top = 100
        judge = load(server)
        assert "likeliest 100 tokens" in judge.name
        server.seen.clear()
        long = Problem(prompt="p", candidates=["x" * 300, "y"])  # B has e^-30
        [answers] = judge.judge([(long, np.array([[0, 1]]))])
        np.testing.assert_allclose(answers, [30.2])
        assert [body["logprobs"] for path, body in server.seen if path == "/v1/completions"] == [20, 100]


def test_all_failures_are_survived() -> None:
    kinds = ["drop", "500", "garbage", "shape", "half", "429"]
    problems = [problem(f"task {k}") for k in range(4)]
    with running(VLLM) as server:
        whole = [r.order for r in Reranker(load(server), "round-robin").rank_many(problems)]
        rng = np.random.default_rng(0)
        faults = {n: kinds[n % len(kinds)] for n in range(10_000) if rng.random() < 0.2}
        for abilities in (VLLM, VLLM - {"generative_scoring"}):
            server.abilities, server.fault, server.count = abilities, lambda n: None, 0
            judge = load(server)
            server.fault = faults.get
            ranked = list(Reranker(judge, "round-robin").rank_many([problem(f"task {k}") for k in range(4)]))
            assert [r.order for r in ranked] == whole
            assert all(r.invalid == 0 and r.decided for r in ranked)
    assert any(n < server.count for n in faults)


@pytest.mark.parametrize("fault", ["drop", "500", "garbage", "shape", "half", "429", "stall"])
def test_a_server_that_fails_for_ever_gives_no_score(fault: str) -> None:
    with running(HOSTED) as server:
        judge = load(server, retries=0, deadline=0.3)
        server.fault = lambda number: fault
        asked = problem()
        [answers] = judge.judge([(asked, PAIRS[:2])])
        assert np.isnan(answers).all()
        said = notes(judge, asked)
        assert said.broken and said.failures and KEY not in repr(said)
        with pytest.raises(UserError, match="fails at every call"):
            Reranker(judge, "knockout").rank(problem())


def test_a_key_is_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(HOSTED) as server:
        judge = load(server)
        ledger = tmp_path / "run.db"
        ranking = Reranker(judge, ledger=ledger).rank(problem())
        assert KEY not in ranking.judge and KEY.encode() not in ledger.read_bytes()
        server.fault = lambda number: "401"
        with pytest.raises(UserError, match=r"OPENAI_API_KEY") as caught:
            judge.judge([(problem(), PAIRS)])
        assert KEY not in str(caught.value) and "wrong key Bearer ***" in str(caught.value)


def test_a_ledger_answers_for_the_server(tmp_path: Path) -> None:
    with running(VLLM) as server:
        first = Reranker(load(server), "round-robin", ledger=tmp_path / "run.db").rank(problem())
        server.seen.clear()
        again = Reranker(load(server), "round-robin", ledger=tmp_path / "run.db")
        assert again.rank(problem()).scores.tolist() == first.scores.tolist()
        assert again.remembered == len(PAIRS)
        assert sum(len(body["items"]) for path, body in server.seen if path == "/generative_scoring") == 1  # the probe


@pytest.mark.parametrize("elsewhere", [(403, b"{}"), (200, b"<html>"), (401, b"no")])
def test_gateways_without_the_servers_own_paths(elsewhere: tuple[int, bytes]) -> None:
    with running(HOSTED) as server:
        server.elsewhere = elsewhere
        judge = load(server)
        assert "of a chat's answer" in judge.name
        assert sum(path == "/tokenize" for path, _ in server.seen) == 1


def test_limits() -> None:
    with running(HOSTED) as server:
        judge = load(server, concurrency=2, requests_per_minute=1200)
        server.delay = 0.01
        import time

        start = time.monotonic()
        judge.judge([(problem(), PAIRS)])
        assert time.monotonic() - start > (len(PAIRS) - 1) * 0.05  # 12 requests, 50 ms apart
        assert server.most <= 2


def test_long_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    long = Problem(prompt="p", candidates=["a" * 900, "b" * 20], name="it")
    with running(VLLM) as server:
        cutting = load(server, max_length=800)
        cutting.judge([(long, np.array([[0, 1]]))])
        assert notes(cutting, long).truncated == 1
        asking = Problem(prompt="p" * 900, candidates=["a", "b"])
        cutting.judge([(asking, np.array([[0, 1]]))])
        assert notes(cutting, asking).truncated == 2  # neither is judged by the whole prompt
        [answers] = load(server, max_length=800, on_long="skip").judge([(long, np.array([[0, 1]]))])
        assert np.isnan(answers).all()
        with pytest.raises(UserError, match="it: 9"):
            load(server, max_length=800, on_long="fail").judge([(long, np.array([[0, 1]]))])


def test_words() -> None:
    with running(HOSTED) as server:
        judge = load(server)
        server.written = lambda number: {"message": {"content": "Because."}}
        assert judge.explain([(problem(), 0, 1)]) == ["Because."]
        text = server.seen[-1][1]["messages"][0]["content"]
        assert text.endswith("Say why, in a few sentences and without another verdict.") and "EVALUATION" not in text


def test_the_record_says_how_the_server_was_asked() -> None:
    from flame_rank.io.output import to_lines

    with running(SGLANG) as server:
        line = json.loads(to_lines(Reranker(load(server)).rank(problem())))
        assert "(label scores of SGLang)" in line["judge"] and server.url in line["judge"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("openai:m@http://u:p@127.0.0.1:1", "a key or password does not go into the URL"),
        ("openai:m@127.0.0.1:1", "a URL begins with http"),
        ("openai:m@http://127.0.0.1:1#samples=none", "#samples=none: it must be a whole number, 1 or more"),
        ("openai:m@http://127.0.0.1:1#sample=3", "#sample: no such option; this judge takes concurrency"),
        ("openai:m@http://127.0.0.1:1#price=3", "#price=3: it must be IN/OUT"),
        ("openai:m@http://127.0.0.1:1#fast", "'fast' after the # is not NAME=VALUE"),
        ("openai:", "write openai:MODEL@URL"),
        ("openai:m@http://127.0.0.1:1#retries=0", "APIConnectionError"),
    ],
)
def test_mistakes(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        flame_rank.load_judge(spec)
    assert KEY not in str(caught.value)


def test_a_server_without_a_verdict_is_refused() -> None:
    with running(frozenset()) as server, pytest.raises(UserError, match="no path to a verdict works"):
        load(server)
    with running(WRITES) as server:
        server.written = lambda number: {"message": {"content": ""}, "finish_reason": "length"}
        with pytest.raises(UserError, match=r"no verdict within 512 tokens.*#think=4096"):
            load(server)
    with running(HOSTED) as server:
        server.models = ["a", "b"]
        with pytest.raises(UserError, match="name the server's model \\(openai:MODEL@URL\\); it has a, b"):
            flame_rank.load_judge(f"openai:@{server.url}")
        for option in ({"ask": "likelihood"}, {"dtype": "float32"}):
            with pytest.raises(UserError, match="takes no"):
                load(server, **option)
