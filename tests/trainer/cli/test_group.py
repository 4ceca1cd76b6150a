"""Mistakes in the arguments of `flame-train`."""

from pathlib import Path

import pytest
from flame_train import run
from releases import make


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("releases"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "hh-harmles"], "no task 'hh-harmles'; did you mean hh-harmless"),
        (["show", "mnli"], "--data: give the folder"),
        (["show", "mnli", "--data", "DATA", "--tokenizer", "EMPTY"], "--tokenizer EMPTY: "),
        (["show", "mnli", "--data", "EMPTY"], "no such file; get it with `flame-train data fetch mnli"),
        (["mixture", "--data", "EMPTY"], "no task of the mixture is under --data"),
        (["mixture", "--data", "DATA", "--mixture", "flame-rm"], "--ratings FILE: flame-rm"),
        (["mixture", "--data", "DATA", "--ratings", "x"], "--ratings and --threshold are for --mixture flame-rm"),
        (["mixture", "--data", "DATA", "--plot", "EMPTY/p.unheard"], "p.unheard"),
        (["export", "--data", "DATA", "--out", "EMPTY"], "already exists; name a new folder"),
        (["data", "fetch", "nothing", "--data", "EMPTY"], "no task 'nothing'"),
    ],
)
def test_mistakes_are_told(arguments: list[str], message: str, data: Path, tmp_path: Path) -> None:
    places = {"EMPTY": str(tmp_path), "DATA": str(data)}
    done = run(*(places.get(a, a.replace("EMPTY", str(tmp_path))) for a in arguments))
    assert done.exit_code != 0 and message.replace("EMPTY", str(tmp_path)) in str(done.exception) + done.output
