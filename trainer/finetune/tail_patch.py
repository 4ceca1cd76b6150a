"""Runs tail patches (section 3.4 of the paper): trains the base on one task at a time, and measures the effect on
each category of a benchmark."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from flame_rank.errors import UserError
from flame_rank.io.run_settings import check_settings, differing
from flame_rank.io.writing import claimed, write_whole
from flame_rank.model.checkpoint_files import identity
from trainer.collection import tasks as collection
from trainer.collection.decontamination import index_evaluation
from trainer.collection.examples import is_available
from trainer.collection.mixture import trained_on
from trainer.collection.tasks.base import Task
from trainer.finetune import training as trainings
from trainer.finetune.evaluation import right_answers
from trainer.finetune.loop import Evaluate, train_loop
from trainer.finetune.malloc import keep_freed_memory
from trainer.finetune.mixture_rows import RowReader
from trainer.finetune.recipe import STEPS, Recipe
from trainer.finetune.run_options import CheckpointPolicy, Devices, ExampleOptions
from trainer.finetune.tail_patch_curves import (
    CATEGORIES,
    Curve,
    RightAnswers,
    curve_file,
    read_curves,
    read_right,
    signed,
    write_curve,
    write_right,
)
from trainer.finetune.tail_patch_options import TailPatchOptions
from trainer.finetune.tokenized_rows import MixtureRows, TokenizedRows
from trainer.finetune.training import Training


def measure(
    base: Path,
    *,
    data: Path,
    out: Path,
    patches: TailPatchOptions,
    recipe: Recipe,
    examples: ExampleOptions,
    devices: Devices,
    max_bad: float = 0.001,
    say: Callable[[str], None] = print,
) -> None:
    """Trains the base on each task alone and writes a curve for each; an existing curve is not measured again.

    Args:
      base: the partially trained model, a Hugging Face directory.
      data: the folder of data sets.
      out: the folder to write: curves/TASK.json, and runs/TASK until the curve is complete.
      patches: which tasks, the categories to measure, and how often.
      recipe: the recipe of each patch; if its `steps` is None, the number for flame-rm is used.
      examples: how examples become token ids.
      devices: where the models are trained.
      max_bad: the share of a task's records that may be bad.
      say: receives lines of progress.

    Raises:
      UserError: something in the arguments or in the files that they name is wrong.
    """
    every, size = patches.eval_every, patches.eval_size
    keep_freed_memory()
    if recipe.steps is None:
        recipe = replace(recipe, steps=STEPS["flame-rm"])
    with claimed(out):
        tasks = _chosen(patches, data)
        training = trainings.load(base, recipe, examples, devices, say)
        targets = _targets(patches.categories() or CATEGORIES, data, say)
        reader = RowReader(
            base=training.base, recipe=recipe, data=data, out=out, options=examples, max_bad=max_bad, say=say
        )
        categories = {
            category: [reader.read(task, limit=size) for task in members] for category, members in targets.items()
        }
        setup = {
            "base": identity(base),
            **asdict(training.recipe),
            **asdict(examples),
            "eval_every": every,
            "eval_size": size,
            **{f"category {category}": [task.name for task in members] for category, members in targets.items()},
        }
        left = [task for task in tasks if not curve_file(out, task.name).exists()]
        say(f"{len(tasks)} tasks, {len(tasks) - len(left)} of them measured already")
        overlap = index_evaluation(collection.TASKS, data, say) if left else None
        # All rows are read before the first training, so that a damaged data set is reported at once.
        rows = [reader.read(task, evaluation=overlap) for task in left]
        patch(
            training,
            rows,
            categories,
            out,
            setup=setup,
            every=every,
            save_every=patches.save_every,
            say=say,
        )


def measure_right(training: Training, categories: Mapping[str, Sequence[TokenizedRows]]) -> RightAnswers:
    """Tells for each example of each category, part after part, whether the model answers it right."""
    return {c: np.concatenate([right_answers(training, rows) for rows in parts]) for c, parts in categories.items()}


def _evaluating(categories: Mapping[str, Sequence[TokenizedRows]], run: Path) -> Evaluate:
    """Returns what measures the accuracy of each category, and keeps the answers in the run's folder."""

    def evaluate(training: Training) -> dict[str, float]:
        right = measure_right(training, categories)
        write_right(run, training.done, right)
        return {category: float(answers.mean()) for category, answers in right.items()}

    return evaluate


def patch(
    training: Training,
    tasks: Sequence[TokenizedRows],
    categories: Mapping[str, Sequence[TokenizedRows]],
    out: Path,
    *,
    setup: Mapping[str, Any],
    every: int,
    save_every: int,
    say: Callable[[str], None] = print,
) -> None:
    """Trains on each task alone, each time from the base, and writes its curve; an existing curve is kept.

    Args:
      training: the training run, at step 0.
      tasks: the rows of each task to train on.
      categories: the rows of the evaluation tasks of each category.
      out: the folder to write: curves/TASK.json is a task's curve, and runs/TASK is its run, without checkpoints once
        the curve is complete.
      setup: the settings that all curves share.
      every: the number of steps between two evaluations.
      save_every: the number of steps between two checkpoints.
      say: receives lines of progress.
    """
    stated = json.loads(json.dumps(setup))  # as it is read back
    _keep_setup(out / "setup.json", stated)
    for curve in read_curves(out):
        if names := differing(curve.setup, stated):
            raise UserError(
                f"{curve_file(out, curve.task)} was measured with another {', '.join(names)}; give another --out"
            )
        _delete_checkpoints(out, curve.task)
    policy = CheckpointPolicy(every=min(save_every, training.recipe.steps), last=1, log=max(1, every // 3), best=False)
    base: RightAnswers = {}
    for number, rows in enumerate(tasks, 1):
        name = rows.task
        if curve_file(out, name).exists():
            continue
        say(f"{name}: task {number} of {len(tasks)}, {len(rows)} examples")
        base = base or measure_right(training, categories)  # before the first task the training is at step 0
        train_loop(
            training,
            MixtureRows(tasks=[rows], weights={name: 1.0}),
            _run(out, name),
            policy,
            evaluate=_evaluating(categories, _run(out, name)),
            evaluate_every=every,
            say=_named(name, say),
        )
        curve = Curve.of(name, stated, {0: base} | read_right(_run(out, name)))
        write_curve(out, curve)
        say(f"{name}: " + ", ".join(f"{c} {signed(r.rating)}" for c, r in curve.ratings().items()))
        _delete_checkpoints(out, name)
        if number < len(tasks):
            training.restart()


def _named(name: str, say: Callable[[str], None]) -> Callable[[str], None]:
    return lambda line: say(f"{name}: {line}")


def _run(out: Path, task: str) -> Path:
    return out / "runs" / task


def _delete_checkpoints(out: Path, task: str) -> None:
    """Deletes the checkpoints of a task whose curve is complete, because they are not needed any more."""
    for folder in _run(out, task).glob("step-*"):
        shutil.rmtree(folder)


def _keep_setup(path: Path, setup: Mapping[str, Any]) -> None:
    """Writes the setup beside the curves, since a run may end before its first curve.

    Raises:
      UserError: the run was begun with another setup.
    """
    check_settings(path, setup)
    if not path.exists():
        write_whole(path, json.dumps(setup, indent=1) + "\n")


def _chosen(patches: TailPatchOptions, data: Path) -> list[Task]:
    """Selects the tasks to train on: the named ones, or those of the mixture that are under `data`; and of these the
    shard."""
    if patches.tasks:
        tasks = [collection.by_name(name) for name in dict.fromkeys(patches.tasks)]
        for task in tasks:
            if task.split == "eval":
                raise UserError(f"--task {task.name}: an evaluation task is never trained on")
    else:
        mixture = trained_on(collection.TASKS, permissive=patches.licence == "permissive", extra=patches.extra)
        tasks = [task for task in mixture if is_available(task, data)]
        if not tasks:
            raise UserError(f"no task of the mixture is under {data}; `flame-train data fetch` gets the data sets")
    number, parts = patches.part()
    return tasks[number - 1 :: parts]


def _targets(wanted: Mapping[str, Sequence[str]], data: Path, say: Callable[[str], None]) -> dict[str, list[Task]]:
    """Finds the tasks of each category that are available under `data`.

    Raises:
      UserError: a task is not an evaluation task with labels, or none of a category's tasks is there.
    """
    targets = {}
    for category, names in wanted.items():
        tasks = [collection.by_name(name) for name in names]
        for task in tasks:
            if task.split != "eval" or not task.labels:
                raise UserError(f"category {category}: {task.name} is not an evaluation task with labels")
        targets[category] = [task for task in tasks if is_available(task, data)]
        missing = [task.name for task in tasks if task not in targets[category]]
        if not targets[category]:
            raise UserError(
                f"category {category}: none of its tasks is under {data}; get them with `flame-train data fetch "
                f"{' '.join(missing)} --data {data}`, or name by --category what is there"
            )
        if missing:
            say(f"category {category} goes without {', '.join(missing)}, not under {data}")
    return targets
