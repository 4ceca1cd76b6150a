"""Runs the steps of training: draws examples, measures and saves the model between steps, and resumes a killed run
exactly."""

import json
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import msgspec
import numpy as np

from flame_rank.errors import UserError
from flame_rank.io import json_file
from flame_rank.io.json_file import one_line
from flame_rank.io.late_interrupt import LateInterrupt
from flame_rank.io.run_settings import check_settings
from flame_rank.io.writing import bring_back, part_of, put, write_whole
from trainer.finetune import metrics, processes
from trainer.finetune.run_options import CheckpointPolicy
from trainer.finetune.step import Sums
from trainer.finetune.tokenized_rows import MixtureRows
from trainer.finetune.training import Training

STEP = "step-{:07d}"
RECIPE = "recipe.json"

Evaluate = Callable[[Training], dict[str, float]]


def train_loop(
    training: Training,
    rows: MixtureRows,
    out: Path,
    policy: CheckpointPolicy,
    *,
    setup: Mapping[str, Any] | None = None,
    evaluate: Evaluate | None = None,
    evaluate_every: int = 0,
    say: Callable[[str], None] = print,
) -> None:
    """Trains to the recipe's last step, from the newest checkpoint in `out` if there is one.

    Args:
      training: the training run, at step 0.
      rows: the examples of each task, and the tasks' weights.
      out: the folder of the run, the same for all processes: checkpoints step-N, metrics.jsonl, tensorboard,
        recipe.json.
      policy: which checkpoints are saved.
      setup: other settings on which the result depends, as JSON; a resumed run must have the same.
      evaluate: returns accuracies by name; the checkpoint with the highest mean is kept as `best`.
      evaluate_every: the number of steps between two evaluations; there is one after the last step, too.
      say: receives lines of progress.

    Raises:
      UserError: the run in `out` was begun with another recipe, or its newest checkpoint is damaged.
    """
    recipe = training.recipe
    _keep_recipe(out, asdict(recipe) | dict(setup or {}))
    _resume(training, out, say)
    every, best = policy.interval(recipe.steps, say), _best_mean(out)
    progress = _Progress(training)
    measured = {line["step"] for line in metrics.lines(out / metrics.METRICS) if "eval" in line}
    with metrics.writing(out, training.done) as write, _saved_at_ctrl_c(training, out, say) as late:

        def measure() -> None:
            nonlocal best
            done = training.done
            if not evaluate or not evaluate_every or (done % evaluate_every and done < recipe.steps):
                return
            accuracies = evaluate(training)
            mean = float(np.mean(list(accuracies.values())))
            if policy.best and mean > best:
                best = mean
                _save_best(training, out, mean)
            write({"step": done, "eval": accuracies, "mean": mean})
            say(f"step {done}  eval {mean:.3f}: " + ", ".join(f"{k} {v:.3f}" for k, v in accuracies.items()))

        if training.done and training.done not in measured:  # an interrupted run is saved before it is measured
            measure()
        while training.done < recipe.steps:
            drawn = rows.draw(training.done, recipe)
            late.begin()
            progress.add(training.step(drawn.rows), drawn.kinds)
            late.end()
            done, last = training.done, training.done == recipe.steps
            if done % policy.log == 0 or last:
                line = progress.line()
                write(line)
                say(progress.text(line))
            measure()
            if done % every == 0 or last:
                training.save(out / STEP.format(done))
                if processes.is_primary():
                    for old in _saved(out)[: -policy.last]:
                        shutil.rmtree(old)


@contextmanager
def _saved_at_ctrl_c(training: Training, out: Path, say: Callable[[str], None]) -> Iterator[LateInterrupt]:
    """Completes the step at Ctrl-C and saves it. A second Ctrl-C ends at once, and so does the first one if there are
    several processes, because all of them would have to save the same step."""
    late = LateInterrupt()
    if alone := jax.process_count() == 1:
        late.install()
    try:
        yield late
    except KeyboardInterrupt:
        path = out / STEP.format(training.done)
        if alone and training.done and not late.busy and not path.exists():
            training.save(path)
            say(f"interrupted: {path} is saved")
        raise
    finally:
        late.restore()


class _Progress:
    """The results of the steps since the last line of metrics, and the speed of the run since its start."""

    def __init__(self, training: Training):
        self._training, self._first, self._began = training, training.done, time.monotonic()
        self._losses: list[float] = []
        self._right: dict[str, list[bool]] = defaultdict(list)

    def add(self, sums: Sums, kinds: Sequence[str]) -> None:
        """Adds a step.

        Args:
          kinds: the kind of each example's task.
        """
        self._losses.append(float(sums.loss))
        for kind, right in zip(kinds, np.asarray(sums.right).tolist(), strict=True):
            self._right[kind].append(right)

    def line(self) -> dict[str, Any]:
        """Returns the line of metrics of the steps since the last line, and resets the counts."""
        seconds = time.monotonic() - self._began
        line: dict[str, Any] = {"step": self._training.done, "loss": float(np.mean(self._losses))}
        line |= {f"right/{kind}": float(np.mean(right)) for kind, right in sorted(self._right.items())}
        line |= {
            "tokens_per_second": self._training.read / seconds,
            "seconds": seconds,
            "padding": 1 - self._training.read / self._training.padded,
        }
        self._losses, self._right = [], defaultdict(list)
        return line

    def text(self, line: Mapping[str, Any]) -> str:
        """Formats a line of metrics for people, with an estimate of the remaining time."""
        done, steps = self._training.done, self._training.recipe.steps
        left = line["seconds"] / (done - self._first) * (steps - done)
        kinds = "  ".join(
            f"{name.removeprefix('right/')} {share:.2f}" for name, share in line.items() if name.startswith("right/")
        )
        return (
            f"step {done}/{steps}  loss {line['loss']:.3f}  right: {kinds}  "
            f"{line['tokens_per_second']:.0f} tokens/s  {line['padding']:.0%} padding  {left / 60:.0f} min left"
        )


def _saved(out: Path) -> list[Path]:
    """Returns the checkpoints of a run, oldest first."""
    return sorted(out.glob("step-*[0-9]"))


def _resume(training: Training, out: Path, say: Callable[[str], None]) -> None:
    """Goes to the newest checkpoint of a run, if there is one.

    Raises:
      UserError: the checkpoint is damaged.
    """
    if not (saved := _saved(out)):
        return
    try:
        training.restore(saved[-1])
    except (OSError, ValueError, KeyError) as error:
        problem = f"cannot be taken up ({one_line(error)})"
        raise UserError(f"{saved[-1]}: {problem}; delete it to resume from an earlier checkpoint") from error
    say(f"taken up at step {training.done}")


def _keep_recipe(out: Path, settings: Mapping[str, Any]) -> None:
    """Writes the recipe and the other settings into the folder of a run. A resumed run must have the same; only the
    number of steps may differ.

    Raises:
      UserError: the run was begun with other settings.
    """
    path = out / RECIPE
    check_settings(path, settings, may_differ=["steps"])
    processes.barrier("the recipe is read")
    if processes.is_primary():
        write_whole(path, json.dumps(settings, indent=1) + "\n")


class _Best(msgspec.Struct):
    """The content of the best checkpoint's eval.json."""

    step: int
    mean: float


def _best_mean(out: Path) -> float:
    """Returns the mean accuracy of the best checkpoint so far; -1 if there is none."""
    if processes.is_primary():
        bring_back(out / "best")
    processes.barrier("the best checkpoint is in its place")
    path = out / "best" / "eval.json"
    if not path.exists():
        return -1.0
    remedy = f"delete {path.parent}: the best one is found anew"
    best: _Best = json_file.read(path, _Best, remedy=remedy)
    return best.mean


def _save_best(training: Training, out: Path, mean: float) -> None:
    folder = out / "best"
    part = part_of(folder)
    if processes.is_primary():
        shutil.rmtree(part, ignore_errors=True)
    training.base.save(training.params(), part)
    if processes.is_primary():
        (part / "eval.json").write_text(json.dumps({"step": training.done, "mean": mean}) + "\n")
        put(part, folder)
