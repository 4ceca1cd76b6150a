"""Files that were damaged since they were written, at every door but those of checkpoints (test_doors.py): what a cache
lost is made again, anything else is the same as before or one line that names the file."""

import bz2
import gzip
import io
import json
import lzma
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_training import MESH, SMALL, TASK, checkpoint, write_words

from flame_rank.errors import UserError
from flame_rank.io.run_settings import check_settings
from flame_rank.judges.default.pool import EVIDENCE, read_judge_settings
from flame_rank.model.text import load as load_tokenizer
from flame_rank.prompts.format import Format
from trainer.collection.archives import unpack
from trainer.collection.examples import examples
from trainer.collection.mixture import read_ratings, read_weights
from trainer.collection.mixture_options import THRESHOLDS
from trainer.collection.release_files import BadRecord, Folder
from trainer.default_judge import learning
from trainer.finetune import base_model, loop, metrics, tail_patch, tail_patch_curves
from trainer.finetune.loop import train_loop
from trainer.finetune.mixture_rows import RowReader
from trainer.finetune.run_options import CheckpointPolicy, ExampleOptions
from trainer.finetune.tokenized_rows import MixtureRows, TokenizedRows, build
from trainer.finetune.training import Training

DEEP = b"[" * 100_000
RECORD = {"q": "a", "good": "one", "bad": "two"}


def lines(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


DIGEST = "0123456789abcdef"


def seen() -> dict[str, Any]:
    values = {name: [0.5, 1.5] for name in EVIDENCE}
    whole = {"values": values, "penalty": [0.0, 1.0], "sound": [True, False], "kind": "texts", "truncated": 0}
    return whole | {"problem": DIGEST}


def zipped() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("a/b.txt", "hello" * 20)
        members.writestr("c.txt", "x")
    return made.getvalue()


def tarred() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as members:
        info = tarfile.TarInfo("a/ü.txt")
        info.size = 5
        members.addfile(info, io.BytesIO(b"hello"))
    return made.getvalue()


def parquet() -> bytes:
    import pyarrow
    from pyarrow import parquet

    made = io.BytesIO()
    parquet.write_table(pyarrow.table({"q": ["a", "b"], "n": [1, 2]}), made)
    return made.getvalue()


def read_all(pattern: str, how: Callable[[Folder, str], Any]) -> Callable[[Path], Any]:
    return lambda path: [record for _, record in how(Folder(path.parent), pattern) if not isinstance(record, BadRecord)]


def unpacked(path: Path) -> None:
    unpack(path, path.with_name(path.name.removesuffix(".part")))


CURVE = {
    **{"task": "x", "setup": {"steps": 3}, "examples": dict.fromkeys(THRESHOLDS, 10), "steps": [0, 3]},
    "right": {category: ["f800", "fc00"] for category in THRESHOLDS},
}
RATINGS = "task,category,rating,score\n" + "".join(f"x,{category},1,50.0\n" for category in THRESHOLDS)
METRICS = lines(
    {"step": 1, "loss": 1.5, "seconds": 2.0, "time": 3.0}, {"step": 2, "eval": {"x": 0.5}, "mean": 0.5, "time": 3.0}
)
# A file's name, what it holds, and what reads it.
DOORS: dict[str, tuple[str, bytes, Callable[[Path], Any]]] = {
    "recipe": ("recipe.json", lines(asdict(SMALL)), lambda path: loop._keep_recipe(path.parent, asdict(SMALL))),
    "best": ("best/eval.json", lines({"step": 3, "mean": 0.5}), lambda path: loop._best_mean(path.parent.parent)),
    "metrics": (metrics.METRICS, METRICS, lambda path: list(metrics.lines(path))),
    "setup": ("setup.json", lines({"steps": 3}), lambda path: tail_patch._keep_setup(path, {"steps": 3})),
    "curve": (
        "curves/x.json",
        lines(CURVE),
        lambda path: tail_patch_curves.table(tail_patch_curves.read_curves(path.parent.parent)),
    ),
    "run": ("recipe.json", lines({"seed": 0}), lambda path: check_settings(path, {"seed": 0})),
    "evidence": ("x.jsonl", lines(seen(), seen()), lambda path: list(learning._whole_lines(path, [DIGEST] * 2, print))),
    "ratings": ("ratings.csv", RATINGS.encode(), read_ratings),
    "weights": ("weights.csv", b"task,weight\nx,1.5\ny,2\n", read_weights),
    "json": ("x.json", lines([RECORD]), read_all("x.json", Folder.json)),
    "jsonl": ("x.jsonl", lines(RECORD, RECORD), read_all("x.jsonl", Folder.jsonl)),
    "csv": ("x.csv", b'q,good\na,"b, c"\nd,e\n', read_all("x.csv", Folder.csv)),
    "text": ("x.txt", b"one\ntwo\n", read_all("x.txt", Folder.lines)),
    "gzip": ("x.jsonl.gz", gzip.compress(lines(RECORD)), read_all("x.jsonl", Folder.jsonl)),
    "bzip2": ("x.jsonl.bz2", bz2.compress(lines(RECORD)), read_all("x.jsonl", Folder.jsonl)),
    "xz": ("x.jsonl.xz", lzma.compress(lines(RECORD)), read_all("x.jsonl", Folder.jsonl)),
    "parquet": ("x.parquet", parquet(), read_all("x.parquet", Folder.parquet)),
    "zip": ("x.zip.part", zipped(), unpacked),
    "tar": ("x.tar.gz.part", tarred(), unpacked),
}


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def one_line(path: Path, error: UserError) -> bool:
    return path.name.removesuffix(".part") in str(error) and "\n" not in str(error)


@pytest.mark.parametrize("door", DOORS)
def test_a_whole_file_is_read(door: str, tmp_path: Path) -> None:
    name, content, read = DOORS[door]
    read(put(tmp_path, name, content))


@pytest.mark.parametrize("content", [b"", b"\0", b"\xff\xfe", DEEP, b'{"x": ' + DEEP, b"{}", b"[]", b"3", b"\x1f\x8b"])
@pytest.mark.parametrize("door", DOORS)
def test_another_file_in_its_place(door: str, content: bytes, tmp_path: Path) -> None:
    name, _, read = DOORS[door]
    path = put(tmp_path, name, content)
    try:
        read(path)
    except UserError as error:
        assert one_line(path, error)


@pytest.mark.parametrize("door", DOORS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_one_line(door: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    name, whole, read = DOORS[door]
    path = put(tmp_path_factory.mktemp("door"), name, damaged(whole, data))
    try:
        read(path)
    except UserError as error:
        assert one_line(path, error)


def damaged(whole: bytes, data: st.DataObject) -> bytes:
    """A file that was cut, or in which some bytes are others."""
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        return whole[:at]
    other = data.draw(st.binary(min_size=1, max_size=4))
    return whole[:at] + other + whole[at + len(other) :]


def test_a_damaged_judge_is_named(tiny_judge_dir: Path, tmp_path: Path) -> None:
    whole = (tiny_judge_dir / "judge.json").read_bytes()
    for content in (b"", whole[:-9], whole.replace(b"128", DEEP), b"\xff" + whole, whole.replace(b'"overlap"', b'"x"')):
        path = put(tmp_path, "judge.json", content)
        with pytest.raises(UserError, match=f"the judge in {tmp_path} cannot be read") as caught:
            read_judge_settings(tmp_path)
        assert "\n" not in str(caught.value) and path.exists()


def test_damaged_evidence_is_read_again_from_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = seen() | {"sound": [True]}
    for second, said in (
        (lines(seen())[5:], "not whole JSON"),
        (lines(other), "not the evidence of a problem"),
        (lines(seen() | {"problem": "y"}), "about another problem"),
    ):
        path = put(tmp_path, "x.jsonl", lines(seen()) + second)
        assert len(list(learning._whole_lines(path, [DIGEST] * 2, print))) == 1
        assert capsys.readouterr().out.startswith(f"{path}:2: {said}")


# ---- A mixture's rows ----


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, Callable[[str], None]], TokenizedRows]:
    """TokenizedRows, from a folder if they are there."""
    folder = checkpoint(tmp_path_factory.mktemp("base") / "m")
    data = write_words(tmp_path_factory.mktemp("data"), 20)
    with (data / "words" / "w.jsonl").open("ab") as file:
        file.write(lines({"q": "first " * 20, "good": "a", "bad": "b"}))  # which is cut
    form = Format(load_tokenizer(folder))

    def make(out: Path, say: Callable[[str], None]) -> TokenizedRows:
        return build(form, "x", TASK, lambda: examples(TASK, data), out, max_input=110, max_target=8, say=say)

    return make


def shown(rows: TokenizedRows) -> tuple[Any, ...]:
    return rows.cut, len(rows), [tuple(map(list, rows[k][:2])) + rows[k][2:] for k in range(len(rows))]


@settings(max_examples=40, deadline=None)
@given(end=st.sampled_from(["json", "ids", "npy"]), data=st.data())
def test_damaged_rows_are_made_again(
    end: str, data: st.DataObject, made: Callable[..., TokenizedRows], tmp_path_factory: pytest.TempPathFactory
) -> None:
    said: list[str] = []
    folder = tmp_path_factory.mktemp("rows")
    expected = shown(made(folder, said.append))
    assert expected[0] > 0 and not said
    [path] = folder.glob(f"*.{end}")
    whole = path.read_bytes()
    other = damaged(whole, data)
    path.unlink()  # what is mapped stays as it is
    path.write_bytes(other)
    assert shown(made(folder, said.append)) == expected
    assert len(said) == (other != whole) and all(": damaged; the rows of words are made again" in one for one in said)
    if said and end != "json":
        assert said[0].startswith(f"{path}: ")
    assert shown(made(folder, said.append)) == expected and len(said) <= 1


def test_damaged_rows_do_not_blame_the_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = base_model.load(checkpoint(tmp_path / "base"), MESH)
    data = write_words(tmp_path / "data", 20)

    reader = RowReader(
        base=base,
        recipe=SMALL,
        data=data,
        out=tmp_path / "out",
        options=ExampleOptions(),
        max_bad=0.1,
        say=lambda line: print(line, file=sys.stderr),
    )

    def rows() -> TokenizedRows:
        return reader.read(TASK)

    expected = shown(rows())
    [index] = (tmp_path / "out" / "rows").glob("*.npy")
    index.unlink()
    index.write_bytes(b"")  # numpy says of it what click takes for an interruption
    assert shown(rows()) == expected
    assert capsys.readouterr().err == f"{index}: damaged; the rows of words are made again\n"
    (tmp_path / "data" / "words" / "w.jsonl").write_text("")
    with pytest.raises(UserError) as caught:
        rows()
    assert str(tmp_path / "base") not in str(caught.value)


def test_a_damaged_checkpoint_of_a_run_is_named(tmp_path: Path) -> None:
    base = base_model.load(checkpoint(tmp_path / "base"), MESH)
    (tmp_path / "out" / "step-0000003").mkdir(parents=True)
    (tmp_path / "out" / "step-0000003" / "training.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(UserError, match=r"step-0000003: cannot be taken up \(.*\); delete it"):
        train_loop(Training(base, SMALL, MESH), MixtureRows(tasks=[], weights={}), tmp_path / "out", CheckpointPolicy())
