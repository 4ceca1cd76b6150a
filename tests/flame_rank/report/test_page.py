"""The report: what is in its data, and what a browser makes of it."""

import base64
import html
import json
import re
import shutil
import subprocess
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from flame_rank import Problem, Reranker
from flame_rank.cli.group import cli
from flame_rank.records import Judgements
from flame_rank.report.page import Report, flips

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = "</script><script>document.body.dataset.broken = 1</script><img src=x onerror=alert(1)> & \u2028"


def longer(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
    """Prefers the longer one, and when two are close the one that it is shown first."""
    return [float(len(a) - len(b)) + 1.5 for a, b in pairs]


def write(path: Path, problems: list[dict[str, Any]], **options: Any) -> Path:
    given: dict[str, Any] = {"strategy": "round-robin", "order": "both", "keep_judgements": True} | options
    reranker = Reranker(longer, **given)
    with Report(path, {"FILE": "in.jsonl", "--seed": 3}) as report:
        for ranking in reranker.rank_many(problems):
            report.add(ranking)
    return path


def unpack(page: str, name: str) -> Any:
    [packed] = re.findall(rf'<script type="text/plain" id="{name}">([^<]*)</script>', page)
    return json.loads(zlib.decompress(base64.b64decode(packed), -15))


def problems(count: int) -> list[dict[str, Any]]:
    return [{"task_id": f"t{k}", "prompt": f"p{k}", "candidates": ["a", "aa", "aaaa", "a"]} for k in range(count)]


def test_blocks_hold_every_problem_with_all_that_was_asked(tmp_path: Path) -> None:
    page = write(tmp_path / "r.html", problems(130)).read_text()
    rows = unpack(page, "list")
    assert [row[0] for row in rows] == [f"t{k}" for k in range(130)]
    assert len(re.findall(r'id="b\d+"', page)) == 3
    for row in rows:
        problem = unpack(page, f"b{row[7]}")[row[8]] if row[8] in (0, 63) else None
        if problem is not None:
            assert problem["name"] == row[0] and problem["order"][0] == 2
    problem = unpack(page, "b0")[0]
    assert problem["asked"] == [
        [0, 0, 1, 0.5], [0, 1, 0, 2.5], [0, 0, 2, -1.5], [0, 2, 0, 4.5], [0, 1, 2, -0.5], [0, 2, 1, 3.5]
    ]  # fmt: skip
    assert problem["flips"] == [[0, 1]] and rows[0][6] == ["flips"] and rows[0][4] == 6


def test_judgements_are_kept_only_if_asked_for() -> None:
    kept = Reranker(longer, "knockout", keep_judgements=True).rank("p", ["a", "aa", "aaa"])
    assert kept.judgements is not None
    assert (
        len(kept.judgements.pairs) == len(kept.judgements.rounds) == len(kept.judgements.log_odds) == kept.comparisons
    )
    assert kept.judgements.rounds.max() > 0
    alone = Reranker(longer, "knockout", keep_judgements=True).rank("p", ["a", "a"])
    assert alone.judgements is not None and alone.judgements.pairs.shape == (0, 2)
    assert Reranker(longer, "knockout").rank("p", ["a", "aa", "aaa"]).judgements is None


def test_a_flip_is_a_winner_that_the_order_decides() -> None:
    pairs = np.array([[0, 1], [1, 0], [0, 2], [2, 0], [1, 2], [3, 2], [2, 3]], np.int64)
    log_odds = np.array([1.0, 0.5, 1.0, -1.0, 2.0, -1.0, np.nan])
    assert flips(Judgements(rounds=np.zeros(7, np.int64), pairs=pairs, log_odds=log_odds)) == [(0, 1)]


def test_undecided_and_infinite_are_said(tmp_path: Path) -> None:
    def judge(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        return [float("nan") if prompt == "p0" else 900.0 for _ in pairs]

    with Report(tmp_path / "r.html", {}) as report:
        for ranking in Reranker(judge, "round-robin", keep_judgements=True).rank_many(problems(2)):
            report.add(ranking)
    page = (tmp_path / "r.html").read_text()
    assert [row[5] is None for row in unpack(page, "list")] == [True, False]
    undecided, sure = unpack(page, "b0")
    assert undecided["asked"][0][3] is None and sure["asked"][0][3] == 50.0


def given_to(page: str) -> dict[str, Any]:
    [given] = re.findall(r'id="given">(.*?)</script>', page)
    settings: dict[str, Any] = json.loads(given)
    return settings


def test_the_run_is_an_audit_of_its_judge(tmp_path: Path) -> None:
    flipping = given_to(write(tmp_path / "r.html", problems(4)).read_text())["warnings"]
    assert flipping == ["the judge prefers the same place in both orders of 4 of 12 pairs"]
    in_one_order = given_to(write(tmp_path / "r.html", problems(4), order="fixed").read_text())["warnings"]
    assert in_one_order == []  # nothing is known of flips

    def sure(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        return [float("nan") if prompt == "p0" else 9.0 * (len(a) - len(b)) for a, b in pairs]

    with Report(tmp_path / "r.html", {}, ["by its audit: a known fault"]) as report:
        for ranking in Reranker(sure, "round-robin", keep_judgements=True).rank_many(problems(4)):
            report.add(ranking)
    known, invalid, saturated = given_to((tmp_path / "r.html").read_text())["warnings"]
    assert known == "by its audit: a known fault"
    assert invalid.startswith("many judgements cannot be had") and invalid.endswith("(25 %)")
    assert saturated.startswith("the judge is hardly ever in doubt") and saturated.endswith("(75 %)")


def test_an_error_leaves_no_page(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"), Report(tmp_path / "r.html", {}):
        raise RuntimeError("stop")
    assert not (tmp_path / "r.html").exists()


def test_memory_holds_a_block_and_not_the_run(tmp_path: Path) -> None:
    [ranking] = Reranker(longer, "knockout", keep_judgements=True).rank_many(problems(1))
    tracemalloc.start()
    try:
        with Report(tmp_path / "r.html", {}) as report:
            for k in range(3000):
                report.add(ranking)
                if k == 300:
                    tracemalloc.reset_peak()
                    before = tracemalloc.get_traced_memory()[0]
        assert tracemalloc.get_traced_memory()[1] - before < 1 << 20
    finally:
        tracemalloc.stop()


def test_the_command_writes_a_page(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "def longer(prompt, pairs):\n    return [float(len(a) - len(b)) for a, b in pairs]\n"
    )
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(problem) + "\n" for problem in problems(3)))
    judge = f"{tmp_path / 'own.py'}:longer"
    arguments = ["rerank", str(source), "--judge", judge, "--seed", "5", "-o", str(tmp_path / "out.jsonl")]
    run = CliRunner().invoke(cli, [*arguments, "--report", str(tmp_path / "r.html")])
    assert run.exit_code == 0, run.output
    page = (tmp_path / "r.html").read_text()
    settings = given_to(page)["settings"]
    assert (settings["FILE"], settings["--seed"], settings["--judge"]) == (str(source), "5", judge)
    assert settings["judge"].endswith("own.py:longer") and unpack(page, "b0")[0]["asked"]
    plain = CliRunner().invoke(cli, [*arguments[:-1], "-"])
    assert plain.stdout_bytes == (tmp_path / "out.jsonl").read_bytes()
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#|data:)""", page) and "http://www.w3.org/2000/svg" in page


def shown(page: Path, tmp_path: Path) -> str:
    """The page's document after its scripts, by a browser that is installed."""
    assert CHROMIUM is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [CHROMIUM, *options, "--virtual-time-budget=10000", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return html.unescape(re.sub(r"<script.*?</script>", "", done.stdout, flags=re.DOTALL))


@pytest.mark.full
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")
def test_a_browser_shows_it(tmp_path: Path) -> None:
    given = [*problems(70), {"task_id": HOSTILE, "prompt": HOSTILE, "candidates": [HOSTILE, "x"]}]
    page = write(tmp_path / "r.html", given)
    text = shown(page, tmp_path)
    assert "71 problems, 282 candidates, 422 comparisons" in text
    assert 'data-ready="' in text and "data-broken" not in text
    assert "71 of 71 problems" in text and "page 1 of 2" in text
    for heading in ("Candidates, best first", "Log-odds", "Schedule", "Who beat whom"):
        assert heading in text
    assert "1 flip by order" in text and "same as #0" in text
    assert 'aria-label="6 comparisons in 1 rounds' in text and "Histogram of P(best) of 71 winners" in text
    hostile = Problem(prompt=HOSTILE, candidates=[HOSTILE])
    text = shown(write(tmp_path / "h.html", [{"prompt": hostile.prompt, "candidates": [HOSTILE, "x"]}]), tmp_path)
    assert "data-ready" in text and 'data-broken="' not in text


@pytest.mark.full
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")
def test_ten_thousand_problems_open(tmp_path: Path) -> None:
    [ranking] = Reranker(longer, "round-robin", order="both", keep_judgements=True).rank_many(
        [{"task_id": "t", "prompt": "p " * 200, "candidates": [f"{k} " * 200 for k in range(6)]}]
    )
    with Report(tmp_path / "r.html", {}) as report:
        for _ in range(10_000):
            report.add(ranking)
    text = shown(tmp_path / "r.html", tmp_path)
    assert "10,000 of 10,000 problems" in text
    [milliseconds] = re.findall(r'data-ready="(\d+)"', text)
    assert int(milliseconds) < 10_000  # under 2 s on an idle machine; tests run on busy ones
