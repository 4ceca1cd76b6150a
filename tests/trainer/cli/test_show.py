"""`flame-train show` on small releases."""

import re
from pathlib import Path

import pytest
from flame_train import succeed
from releases import make


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("releases"))


def test_show(data: Path) -> None:
    done = succeed("show", "hh-harmless", "--data", data, "--n", 1)
    assert done.stdout.startswith("INSTRUCTIONS:\ntitle: The more harmless reply\n")
    assert "choice: B\n\n--- hh-harmless 1: " in done.stdout and " + 1 tokens\n" in done.stdout
    assert (
        "2 examples of 3 records; 1 records without an answer; 0 bad\nlabels: A 1 (50.0%), B 1 (50.0%)" in done.stdout
    )
    assert "labels:" not in succeed("show", "esnli-explanation", "--data", data).stdout


def test_show_counts_with_a_tokenizer(data: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sizes(*arguments: object) -> tuple[list[str], str]:
        done = succeed("show", "hh-harmless", "--data", data, *arguments)
        return re.findall(r"--- hh-harmless \d: (\d+) \+ 1 tokens", done.stdout), done.stderr

    words, notes = sizes()
    examples = succeed("show", "hh-harmless", "--data", data, "--n", 1).stdout
    assert words[0] == str(len(examples[: examples.index("--- hh")].split()) - 1)  # without the verdict
    message = "flame-train: SmolLM2-135M-Instruct is not on this machine, so words are counted as tokens; name another"
    assert notes == f"{message} by --tokenizer\n"
    tokens, notes = sizes("--tokenizer", tiny_model)
    assert notes == "" and all(int(a) > int(b) for a, b in zip(tokens, words, strict=True))
    monkeypatch.setenv("FLAME_RANK_MODEL", str(tiny_model))  # which the default judge would read with
    assert sizes() == (tokens, "")
