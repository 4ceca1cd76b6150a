"""metrics.jsonl and TensorBoard's events say the same, each step once, whatever was killed."""

import json
import struct
from pathlib import Path
from typing import Any

from trainer.finetune import metrics


def events(folder: Path) -> dict[tuple[str, int], float]:
    """The scalars under a folder by name and step; none is there twice. In a file of TFRecords, each Event follows the
    eight bytes of its length and the four of a checksum, with four more behind it."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[tuple[str, int], float] = {}
    for path in folder.iterdir():
        raw, at = path.read_bytes(), 0
        while at < len(raw):
            (length,) = struct.unpack_from("<Q", raw, at)
            event = Event.FromString(raw[at + 12 : at + 12 + length])
            at += length + 16
            for value in event.summary.value:
                assert (value.tag, event.step) not in found
                found[value.tag, event.step] = value.simple_value
    return found


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / metrics.METRICS).read_text().splitlines()]


def same(out: Path) -> bool:
    """Whether both say the same, to float32."""
    said = {(name, line["step"]): value for line in lines(out) for name, value in metrics.scalars(line).items()}
    shown = events(out / metrics.EVENTS)
    return shown.keys() == said.keys() and all(abs(shown[k] - v) <= 1e-6 * abs(v) for k, v in said.items())


def step(k: int) -> dict[str, Any]:
    return {"step": k, "loss": 1 / k, "right/pairwise": 0.5, "tokens_per_second": 7e4 / 3, "seconds": k / 10}


def test_what_comes_again_is_there_once(tmp_path: Path) -> None:
    with metrics.writing(tmp_path, 0) as write:
        for k in range(1, 7):
            write(step(k))
            if k % 2 == 0:
                write({"step": k, "eval": {"mnli": 0.25, "hh-harmless": 0.5}, "mean": 0.375})
    before = lines(tmp_path)
    assert len(before) == 9 and same(tmp_path)
    assert events(tmp_path / "tensorboard")["eval/hh-harmless", 4] == 0.5
    assert {name for name, _ in events(tmp_path / "tensorboard")} == {
        "loss", "right/pairwise", "tokens_per_second", "eval/mnli", "eval/hh-harmless", "eval/mean",
    }  # fmt: skip
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "lo')  # killed in the middle of a line
    with metrics.writing(tmp_path, 4) as write:
        assert lines(tmp_path) == before[:6] and [line["step"] for line in before[:6]] == [1, 2, 2, 3, 4, 4]
        write(step(5))
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 2, 3, 4, 4, 5] and same(tmp_path)
    with metrics.writing(tmp_path, 0):
        pass
    assert lines(tmp_path) == [] and events(tmp_path / "tensorboard") == {}
