"""The sampler's log-probabilities: each shape that samplers write, the values, and what is refused."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import flame_rank
from flame_rank.cli.group import cli
from flame_rank.judges.panel import PanelJudge
from flame_rank.judges.sampler_evidence import SamplerEvidenceJudge, self_certainty
from flame_rank.records import Problem

Rows = list[tuple[float, ...]]  # the log-probabilities of each place, that of the sampled token first


def openai_chat(rows: Rows) -> dict[str, Any]:
    content = [
        {
            "token": "a",
            "logprob": row[0],
            "bytes": [97],
            "top_logprobs": [{"token": str(k), "logprob": p, "bytes": None} for k, p in enumerate(row)],
        }
        for row in rows
    ]
    return {"logprobs": {"content": content, "refusal": None}}


def openai_completion(rows: Rows) -> dict[str, Any]:
    return {
        "logprobs": {
            "tokens": ["a"] * len(rows),
            "text_offset": list(range(len(rows))),
            "token_logprobs": [row[0] for row in rows],
            "top_logprobs": [{str(k): p for k, p in enumerate(row)} for row in rows],
        }
    }


def vllm(rows: Rows) -> dict[str, Any]:
    places = [{str(k): {"logprob": p, "rank": k + 1, "decoded_token": "a"} for k, p in enumerate(row)} for row in rows]
    return {"logprobs": places, "cumulative_logprob": sum(row[0] for row in rows)}


def vllm_objects(rows: Rows) -> dict[str, Any]:
    return {"logprobs": [{k: SimpleNamespace(logprob=p, rank=k + 1) for k, p in enumerate(row)} for row in rows]}


def tgi(rows: Rows) -> dict[str, Any]:
    return {
        "details": {
            "finish_reason": "length",
            "tokens": [{"id": 5, "text": "a", "logprob": row[0], "special": False} for row in rows],
            "top_tokens": [
                [{"id": k, "text": "a", "logprob": p, "special": False} for k, p in enumerate(row)] for row in rows
            ],
        }
    }


def transformers(rows: Rows) -> dict[str, Any]:
    return {"transition_scores": [row[0] for row in rows]}


def sums(rows: Rows) -> dict[str, Any]:
    return {"cumulative_logprob": sum(row[0] for row in rows), "token_ids": [7] * len(rows)}


WHOLE = [openai_chat, openai_completion, vllm, vllm_objects, tgi]
ROWS = st.lists(st.lists(st.floats(-20, -0.01), min_size=3, max_size=3).map(tuple), min_size=1, max_size=6)


def differences(kind: Any, *fields: dict[str, Any]) -> Any:
    problem = Problem(prompt="p", candidates=[{"text": str(k), **own} for k, own in enumerate(fields)])  # type: ignore[misc]
    (log_odds,) = SamplerEvidenceJudge(kind).judge([(problem, np.array([(0, k) for k in range(len(fields))]))])
    return log_odds


@given(ROWS, ROWS, st.sampled_from([*WHOLE, transformers, sums]), st.sampled_from([*WHOLE, transformers, sums]))
def test_the_mean_is_the_same_in_all_shapes(a: Rows, b: Rows, write: Any, other: Any) -> None:
    means = [np.mean([row[0] for row in rows]) for rows in (a, b)]
    assert differences("logprob", write(a), other(b))[1] == pytest.approx(means[0] - means[1])


@given(ROWS, ROWS, st.sampled_from(WHOLE), st.sampled_from(WHOLE))
def test_self_certainty_is_that_of_the_paper_over_the_tokens_that_are_known(
    a: Rows, b: Rows, write: Any, other: Any
) -> None:
    values = [-sum(math.log(3 * math.exp(p)) for row in rows for p in row) / (3 * len(rows)) for rows in (a, b)]
    assert differences("self-certainty", write(a), other(b))[1] == pytest.approx(values[0] - values[1])


def test_uniform_distributions_have_no_certainty() -> None:
    assert self_certainty(np.full((4, 8), -math.log(8))) == pytest.approx(0)
    sure = np.log([[0.97, 0.01, 0.01, 0.01]])
    assert self_certainty(sure) > self_certainty(np.log([[0.4, 0.2, 0.2, 0.2]])) > 0


def test_all_positions_count_the_same_number_of_tokens() -> None:
    """vLLM tells the sampled token besides the likeliest, so that some places have one more."""
    a = openai_chat([(-0.1, -3.0), (-0.2, -2.0)])
    b = vllm([(-4.0, -0.1, -3.0), (-0.2, -2.0)])
    assert differences("self-certainty", a, b)[1] == pytest.approx(0)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, 'candidate 0: no "logprobs" in its record'),
        ({"logprobs": None}, 'no "logprobs"'),
        ({"logprobs": "high"}, '"logprobs" has another form than'),
        ({"logprobs": 3}, "has another form than"),
        ({"logprobs": {"tokens": ["a"]}}, "has another form than"),
        ({"logprobs": []}, '"logprobs" has no tokens'),
        ({"logprobs": [0.3]}, "token 0: 0.3 is not a log-probability"),
        ({"logprobs": [-1.0, None]}, "token 1: None is not a log-probability"),
        ({"logprobs": [-9999.0]}, "-9999.0 is not a log-probability"),
        ({"logprobs": [{}]}, "has another form than"),
        ({"logprobs": {"token_logprobs": [None], "top_logprobs": None}}, "token 0: None is not"),
        ({"logprobs": {"token_logprobs": [-1.0], "top_logprobs": [{}, {}]}}, "argument|shape"),
        ({"details": {"tokens": 4}}, '"details" has another form'),
        ({"cumulative_logprob": -3.0}, "the number of tokens"),
    ],
)
def test_what_is_missing_or_wrong_is_no_value(fields: dict[str, Any], words: str) -> None:
    good = [{"text": str(k), "logprobs": [-1.0 - k]} for k in range(2)]
    ranking = flame_rank.Reranker("logprob").rank("p", [{"text": "x", **fields}, *good])
    assert ranking.order == [1, 2, 0] and ranking.p_best[0] == 0 and ranking.decided and ranking.invalid == 1
    assert words.split("|")[0] in ranking.reasons[0] or words.split("|")[-1] in ranking.reasons[0]
    assert ranking.p_best[1] == pytest.approx(1 / (1 + math.exp(-1)))


def test_self_certainty_needs_more_than_the_sampled_token() -> None:
    candidates = [{"text": str(k), "logprobs": [-1.0 - k]} for k in range(3)]
    ranking = flame_rank.Reranker("self-certainty").rank("p", candidates)
    assert not ranking.decided and "sample with top_logprobs" in ranking.reasons[0]


@pytest.mark.parametrize("write", [openai_chat, openai_completion, vllm, tgi])
@pytest.mark.parametrize("judge", ["logprob", "self-certainty"])
def test_by_the_command(tmp_path: Path, judge: str, write: Any) -> None:
    rows: list[Rows] = [[(-2.0, -1.0, -1.1)], [(-0.1, -3.0, -4.0)], [(-1.0, -1.5, -2.0)]]
    path = tmp_path / "problems.jsonl"
    candidates = [{"text": str(k), **write(own)} for k, own in enumerate(rows)]
    path.write_text(json.dumps({"prompt": "p", "candidates": candidates}) + "\n")
    ledger = tmp_path / "l.db"
    arguments = ["rerank", str(path), "--judge", judge, "--format", "jsonl", "--ledger", str(ledger)]
    ran = CliRunner().invoke(cli, arguments)
    assert ran.exit_code == 0 and json.loads(ran.stdout)["ranking"] == [1, 2, 0], ran.output
    assert not ledger.exists()  # its key would not hold the log-probabilities


def test_a_batch_of_openai_keeps_them_beside_the_text(tmp_path: Path) -> None:
    choices = [
        {"index": k, "message": {"role": "assistant", "content": str(k)}, **openai_chat([(p, -9.0)])}
        for k, p in enumerate((-1.0, -0.5))
    ]
    line = {"id": "b", "custom_id": "r", "response": {"status_code": 200, "body": {"choices": choices}}, "error": None}
    request = {
        "custom_id": "r",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"messages": [{"role": "user", "content": "p"}]},
    }
    (tmp_path / "out.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "requests.jsonl").write_text(json.dumps(request) + "\n")
    arguments = ["rerank", str(tmp_path / "out.jsonl"), "--requests", str(tmp_path / "requests.jsonl")]
    ran = CliRunner().invoke(cli, [*arguments, "--judge", "logprob", "--format", "jsonl"])
    assert ran.exit_code == 0 and '"best":1' in ran.stdout.replace(" ", ""), ran.output


def test_vllm_in_python() -> None:
    def completion(text: str, p: float) -> Any:
        return SimpleNamespace(text=text, index=0, logprobs=[{5: SimpleNamespace(logprob=p)}], token_ids=[5])

    output: Any = SimpleNamespace(prompt="p", request_id="1", outputs=[completion("a", -2.0), completion("b", -1.0)])
    assert flame_rank.Reranker("logprob").rank(output).order == [1, 0]


def test_in_a_panel_with_a_ledger(tmp_path: Path) -> None:
    panel = PanelJudge([flame_rank.load_judge("votes"), flame_rank.load_judge("logprob")])
    for sign in (1, -1):  # the same texts, other log-probabilities
        candidates = [{"text": str(k), "logprobs": [-2.0 + sign * k]} for k in range(2)]
        ranking = flame_rank.Reranker(panel, ledger=tmp_path / "l").rank("p", candidates)
        assert ranking.order[0] == (1 if sign > 0 else 0)
