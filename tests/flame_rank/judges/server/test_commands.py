"""The commands with a judge behind a server: what docs/which-judge.md and docs/servers.md show."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from servers import HOSTED, KEY, VLLM, running

from flame_rank.cli.group import cli
from flame_rank.errors import UserError

pytest.importorskip("openai")
pytestmark = pytest.mark.loopback

PROBLEMS = [{"prompt": f"2 + {k}?", "candidates": ["4", "It is 4.", "It is 4, as said.", "no"]} for k in range(3)]


@pytest.fixture
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    file = tmp_path / "samples.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in PROBLEMS))
    return file


def test_rerank(samples: Path, tmp_path: Path) -> None:
    counts = tmp_path / "counts.json"
    with running(VLLM) as server:
        line = [
            "rerank",
            str(samples),
            "--judge",
            f"openai:m@{server.url}#price=1/2/0.5",
            "--json-summary",
            str(counts),
        ]
        done = CliRunner().invoke(cli, line, catch_exceptions=False)
    assert done.exit_code == 0 and KEY not in done.output
    ranked = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["best"] for line in ranked] == [2, 2, 2]
    assert "(label scores of vLLM)" in ranked[0]["judge"]
    assert "% from its cache) and wrote" in done.stderr and "it cost " in done.stderr
    summary = json.loads(counts.read_text())
    usage = summary["server"]
    assert usage["requests"] > 3 and usage["cached_tokens"] > 0
    fresh = usage["prompt_tokens"] - usage["cached_tokens"]
    assert summary["cost"] == pytest.approx(
        (fresh + 0.5 * usage["cached_tokens"] + 2 * usage["completion_tokens"]) / 1e6
    )


def test_plan_tells_tokens_and_their_cost(samples: Path) -> None:
    with running(HOSTED) as server:
        judge = f"openai:m@{server.url}#price=10/20"
        line = ["plan", str(samples), "--judge", judge, "--strategy", "round-robin", "--json"]
        done = CliRunner().invoke(cli, line, catch_exceptions=False)
    assert done.exit_code == 0
    plan = json.loads(done.stdout)
    assert plan["most"] == 36 and plan["tokens"] == 36 * 101 and plan["estimated"]
    assert plan["cost"] == pytest.approx(36 * (100 * 10 + 20) / 1e6)


def test_what_cannot_be_reached_is_one_line(samples: Path) -> None:
    with running(HOSTED) as server:
        url = server.url
    with pytest.raises(UserError, match=f"openai:m@{url}/v1: the server does not answer"):
        CliRunner().invoke(
            cli, ["rerank", str(samples), "--judge", f"openai:m@{url}#retries=0"], catch_exceptions=False
        )
