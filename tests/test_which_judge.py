"""The commands of docs/which-judge.md are run: on tiny models, and with servers of the tests' own."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf_files
import pytest
from checkpoints import VARIANTS, tensors, write_checkpoint, write_reward_model
from click.testing import CliRunner
from places import ROOT
from servers import SGLANG, WRITES, running
from tokenizers_tiny import CHATML, write_byte_bpe

from flame_rank.cli.group import cli

pytest.importorskip("openai")
pytestmark = pytest.mark.loopback

PAGE = (ROOT / "docs" / "which-judge.md").read_text()
LINES = [line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S) for line in block.splitlines()]
COMMANDS = [line for line in LINES if not line.startswith("pip ")]
UNDECIDED = "Qwen3-8B#think=2000"  # a random model on this machine reaches no verdict


def model(folder: Path, *, reward: bool = False) -> dict[str, Any]:
    folder.mkdir(parents=True)
    config = {**VARIANTS["llama2"], "vocab_size": write_byte_bpe(folder, template=CHATML), "num_hidden_layers": 1}
    (write_reward_model if reward else write_checkpoint)(folder, config)
    return config


def logprobs(text: str) -> dict[str, object]:
    tokens = [{"token": word, "logprob": -0.5, "top_logprobs": [{"token": word, "logprob": -0.5}] * 2} for word in "ab"]
    return {"text": text, "logprobs": {"content": tokens}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the page names."""
    folder = tmp_path_factory.mktemp("which")
    for name in ("Qwen2.5-7B-Instruct", "Qwen3-8B", "Qwen2.5-32B-Instruct"):
        config = model(folder / "path" / "to" / name)
    model(folder / "Skywork" / "Skywork-Reward-V2-Qwen3-0.6B", reward=True)
    entries = gguf_files.parameters(config) | gguf_files.byte_bpe(folder / "path" / "to" / name, "gpt-2")
    gguf_files.write(folder / "small.gguf", "llama", entries, gguf_files.converted(config, tensors(config)))
    texts = ["It is 4. Answer: 4", "4, as 2 + 2 = 4. Answer: 4", "It is 5. Answer: 5"]
    samples = [{"prompt": f"2 + {k}?", "candidates": [logprobs(text) for text in texts]} for k in (2, 3)]
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in samples))
    labels = [{"prompt": "2 + 2?", "chosen": "It is 4, of course.", "rejected": "5"}]
    (folder / "labels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in labels))
    (folder / "my_rewards.py").write_text(
        "def difference(prompt, pairs):\n    return [len(first) - len(second) for first, second in pairs]\n"
    )
    return folder


@pytest.fixture
def servers(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The addresses of the page, and those of servers here."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    with running(SGLANG | {"rewards of SGLang"}) as own, running(WRITES) as hosted:
        own.models = ["Qwen/Qwen3-8B", "Skywork/Skywork-Reward-V2-Qwen3-8B"]
        hosted.written = lambda number: {"message": {"content": "It is so.\nchoice: A"}, "finish_reason": "stop"}
        yield {"http://localhost:8000": own.url, "https://api.openai.com": hosted.url}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page(line: str, servers: dict[str, str]) -> None:
    for there, here in servers.items():
        line = line.replace(there, here)
    program, *words = shlex.split(line.replace("#think=2000", "#think=8"))
    if program == "jq":
        if shutil.which("jq") is None:
            pytest.skip("needs jq")
        assert subprocess.run([program, *words], capture_output=True, text=True, check=True).stdout == "1\n"
        return
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    output = Path(words[words.index("-o") + 1]).read_text() if "-o" in words else done.stdout
    records = [json.loads(record) for record in output.splitlines()]
    assert len(records) == (1 if "labels.jsonl" in words else 2)
    if UNDECIDED not in line:
        assert all(record["best"] is not None for record in records)


def test_several_judges(servers: dict[str, str]) -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.M | re.S)
    for there, here in servers.items():
        text = text.replace(there, here)
    Path("panel.toml").write_text(text)
    done = CliRunner().invoke(cli, ["rerank", "samples.jsonl", "--judge", "panel.toml"], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    assert all(len(json.loads(record)["by_judge"]) == 2 for record in done.stdout.splitlines())
