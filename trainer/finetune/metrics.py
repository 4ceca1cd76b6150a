"""The numbers of a run on its way: lines of metrics.jsonl, and the same as events for TensorBoard."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flame_rank.io import json_file
from trainer.finetune import processes

METRICS, EVENTS = "metrics.jsonl", "tensorboard"
_NO_SCALARS = ("step", "seconds", "time")


@contextmanager
def writing(out: Path, step: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Gives what writes a line; of many processes, only the first one does.

    What a run that was killed wrote past its checkpoint comes again: it is dropped. Events are made anew of the lines
    that stay, so that both say the same and no step is there twice.

    Args:
      out: the folder of the run.
      step: of the checkpoint from which it goes on.
    """
    if not processes.is_primary():
        yield lambda line: None
        return
    from tensorboardX import SummaryWriter

    path = out / METRICS
    kept = [line for line in lines(path) if line["step"] <= step]
    part = path.with_name(path.name + ".part")
    part.write_text("".join(json.dumps(line) + "\n" for line in kept), "utf-8")
    part.replace(path)
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
    """A line's numbers by their names in TensorBoard."""
    if "eval" in line:
        return {f"eval/{task}": value for task, value in line["eval"].items()} | {"eval/mean": line["mean"]}
    return {name: value for name, value in line.items() if name not in _NO_SCALARS}


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a run's metrics, without one that was broken off.

    Raises:
      BadFile: one is damaged.
    """
    remedy = "remove the line"
    for number, raw in enumerate(path.read_bytes().splitlines(keepends=True) if path.exists() else [], 1):
        if not raw.endswith(b"\n"):  # killed while it was written
            return
        line = json_file.decoded(raw, f"{path}:{number}", remedy=remedy)
        try:
            sound = isinstance(line["step"], int) and all(map(_is_number, scalars(line).values()))
        except (TypeError, KeyError, AttributeError):
            sound = False
        if not sound:
            raise json_file.BadFile(f"{path}:{number}: holds no numbers of a step; {remedy}")
        yield line


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)
