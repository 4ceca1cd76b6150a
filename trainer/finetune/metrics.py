"""The metrics of a run: lines of metrics.jsonl, and the same numbers as events for TensorBoard."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flame_rank.io import json_file
from flame_rank.io.writing import write_whole
from trainer.finetune import processes

METRICS, EVENTS = "metrics.jsonl", "tensorboard"
_NO_SCALARS = ("step", "seconds", "time")


@contextmanager
def writing(out: Path, step: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yields a function that writes a line; only the first of several processes writes.

    Lines after the checkpoint from which a run is resumed are dropped, because their steps are repeated. The events are
    written again from the remaining lines, so that both files have the same numbers and no step twice.

    Args:
      out: the folder of the run.
      step: the step of the checkpoint from which the run is resumed; 0 without one.
    """
    if not processes.is_primary():
        yield lambda line: None
        return
    from tensorboardX import SummaryWriter

    path = out / METRICS
    kept = [line for line in lines(path) if line["step"] <= step]
    write_whole(path, "".join(json.dumps(line) + "\n" for line in kept))
    shutil.rmtree(out / EVENTS, ignore_errors=True)
    with SummaryWriter(str(out / EVENTS)) as events, path.open("a", encoding="utf-8") as file:

        def add(line: dict[str, Any]) -> None:
            for name, value in scalars(line).items():
                events.add_scalar(name, value, line["step"], line.get("time"))

        def write(line: dict[str, Any]) -> None:
            line = line | {"time": time.time()}
            file.write(json.dumps(line) + "\n")
            file.flush()
            add(line)

        for line in kept:
            add(line)
        yield write


def scalars(line: dict[str, Any]) -> dict[str, float]:
    """Returns the numbers of a line by their names in TensorBoard."""
    if "eval" in line:
        return {f"eval/{task}": value for task, value in line["eval"].items()} | {"eval/mean": line["mean"]}
    return {name: value for name, value in line.items() if name not in _NO_SCALARS}


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the lines of a run's metrics, without an incomplete last line of a killed run.

    Raises:
      BadFile: a line is damaged.
    """
    remedy = "remove the line"
    for number, raw in enumerate(path.read_bytes().splitlines(keepends=True) if path.exists() else [], 1):
        if not raw.endswith(b"\n"):  # the run was killed while it wrote the line
            return
        line = json_file.decoded(raw, f"{path}:{number}", remedy=remedy)
        try:
            sound = isinstance(line["step"], int) and all(map(_is_number, scalars(line).values()))
        except (TypeError, KeyError, AttributeError):
            sound = False
        if not sound:
            raise json_file.BadFile(f"{path}:{number}: does not hold the numbers of a step; {remedy}")
        yield line


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)
