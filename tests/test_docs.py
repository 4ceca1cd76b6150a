"""What README and docs show: Python runs, page by page, and commands have the options that they are shown with."""

import re
import shlex
from pathlib import Path

import click
import pytest
from places import ROOT

from flame_rank.cli.group import cli as flame_rank
from trainer.cli.group import cli as flame_train

PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "flame_rank").rglob("README.md"),
    ]
)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """Each command of a page, as words, without what stands around it."""
    lines = "".join(blocks(page, "sh") + blocks(page, "console")).replace("\\\n", " ").splitlines()
    parts = (part for line in lines for part in line.removeprefix("$ ").split("&&"))
    return [words for part in parts if (words := shlex.split(part, comments=True))]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
def test_python_runs(page: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "path" / "to").mkdir(parents=True)
    (tmp_path / "path" / "to" / "model").symlink_to(tiny_model)
    samples = ["It is 4.", "4, as 2 + 2 = 4.", "It is 5."]
    given = {"prompt": "2 + 2?", "samples": samples, "prompts": ["2 + 2?"]}
    names = {**given, "generate": lambda prompt, n: samples, "keep": lambda best: None}
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), names)


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name)
def test_commands_have_their_options(page: Path) -> None:
    for first, *words in commands(page):
        program = Path(first).name
        given = [word.split("=")[0] for word in words if word.startswith("--") and word != "--"]
        if program in ("flame-rank", "flame-train"):
            command: click.Command = {"flame-rank": flame_rank, "flame-train": flame_train}[program]
            while isinstance(command, click.Group):
                command = command.commands[words.pop(0)]
            known = {option for parameter in command.params for option in parameter.opts}
            assert {*given} <= known, (first, given)
        elif program == "python" and words[0].startswith("examples/"):
            source = (ROOT / words[0]).read_text()
            if "@JUDGE" in source:
                source += "".join(
                    option for parameter in flame_rank.commands["rerank"].params for option in parameter.opts
                )
            assert all(f'"{option}' in source or option in source for option in given), (words, given)


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)[^)]*\)", page.read_text()):
            assert (page.parent / target).exists() or page.with_name(target).exists(), (page, target)
