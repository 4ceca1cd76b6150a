"""Trains a judge in one run, from a base model and a mixture to checkpoints, with the paper's numbers (section 3.5)."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from flame_rank.errors import UserError
from flame_rank.fields import WrongType, check_values
from flame_rank.io.writing import claimed
from flame_rank.judges.model_location import locate
from flame_rank.model.checkpoint_files import identity
from trainer.collection import training_data
from trainer.collection.mixture import Mixture
from trainer.collection.mixture_options import MixtureOptions
from trainer.collection.tasks import by_name
from trainer.collection.training_data import TrainingData
from trainer.finetune import loop, processes, training
from trainer.finetune.evaluation import accuracy
from trainer.finetune.malloc import keep_freed_memory
from trainer.finetune.mixture_rows import RowReader
from trainer.finetune.recipe import STEPS, Recipe
from trainer.finetune.run_options import CheckpointPolicy, Devices, EvaluationOptions, ExampleOptions
from trainer.finetune.tokenized_rows import TokenizedRows
from trainer.finetune.training import Training


def train(
    base: str | Path,
    *,
    data: str | Path,
    out: str | Path,
    mixture: str | Path | MixtureOptions = "flame",
    recipe: Recipe | None = None,
    examples: ExampleOptions | None = None,
    evaluation: EvaluationOptions | None = None,
    checkpoints: CheckpointPolicy | None = None,
    devices: Devices | None = None,
    max_bad: float = 0.001,
    say: Callable[[str], None] = print,
) -> Path:
    """Fine-tunes a model on a mixture; the loss is on target tokens alone.

    A run that was interrupted is resumed from its newest checkpoint when it is started again with the same arguments.

    Args:
      base: the model to start from: a Hugging Face directory, a GGUF file or hf:ORG/NAME.
      data: the folder of data sets, as `flame-train data fetch` makes it.
      out: the folder of the run: checkpoints step-N, each a directory that `flame_rank.load_judge` reads, and the best
        one by `evaluation` as `best`; metrics.jsonl; tensorboard; recipe.json; training_data.json.
      mixture: flame, flame-rm, a CSV file of task,weight, or the options that name one.
      recipe: the numbers of the training run; without it, the paper's.
      examples: how examples become token ids.
      evaluation: what is measured during the training; without it, nothing.
      checkpoints: what is saved during the training.
      devices: where the training runs; without it, on all devices of this process.
      max_bad: the share of a task's records that may be bad.
      say: receives lines of progress, in the first process only.

    Returns:
      The folder of the last checkpoint.

    Raises:
      UserError: something in the arguments or in the files that they name is wrong.
    """
    _check_types(base=(base, str, Path), data=(data, str, Path), out=(out, str, Path), max_bad=(max_bad, float, int))
    _check_types(mixture=(mixture, str, Path, MixtureOptions))
    recipe = Recipe() if recipe is None else recipe
    examples = ExampleOptions() if examples is None else examples
    evaluation = EvaluationOptions() if evaluation is None else evaluation
    checkpoints = CheckpointPolicy() if checkpoints is None else checkpoints
    devices = Devices() if devices is None else devices
    _check_types(
        recipe=(recipe, Recipe),
        examples=(examples, ExampleOptions),
        evaluation=(evaluation, EvaluationOptions),
        checkpoints=(checkpoints, CheckpointPolicy),
        devices=(devices, Devices),
    )
    for given in (recipe, examples, evaluation, checkpoints, devices, mixture):
        if not isinstance(given, str | Path):
            check_values(given)
    out, data = Path(out), Path(data)
    keep_freed_memory()
    if devices.distributed or devices.coordinator:
        processes.initialize(devices.coordinator, devices.processes, devices.process)

    def say_once(line: str) -> None:
        if processes.is_primary():
            say(line)

    options = mixture if isinstance(mixture, MixtureOptions) else MixtureOptions(mixture=str(mixture))
    tasks = Mixture.read(options)
    measured = [by_name(name) for name in evaluation.tasks]
    for task in measured:
        if not task.labels:
            raise UserError(f"--eval {task.name}: it has no labels by which accuracy could be measured")
        if task in tasks.tasks:
            say_once(
                f"--eval {task.name}: it is trained on; a task of the evaluation split tells more, such as hhh-honest"
            )
    _, path = locate(str(base), "--base")
    if recipe.steps is None:
        recipe = replace(recipe, steps=STEPS.get(options.mixture, STEPS["flame"]))
    with claimed(out) if processes.is_primary() else nullcontext():
        state = training.load(path, recipe, examples, devices, say_once)
        reader = RowReader(
            base=state.base, recipe=recipe, data=data, out=out, options=examples, max_bad=max_bad, say=say_once
        )
        rows, trained = reader.read_mixture(tasks)
        state.base.training_data = trained.after(TrainingData.of_judge(str(path)))
        if processes.is_primary():
            state.base.training_data.write(out / training_data.FILE)
        plain = replace(reader, options=replace(examples, both_orders=False, on_long="cut"))
        targets = [plain.read(task, limit=evaluation.size) for task in measured]
        loop.train_loop(
            state,
            rows,
            out,
            checkpoints,
            setup={"base": identity(path), **asdict(examples), "weights": dict(rows.weights)},
            evaluate=_evaluating(targets) if targets else None,
            evaluate_every=evaluation.every,
            say=say_once,
        )
    return out / loop.STEP.format(state.done)


def _check_types(**arguments: tuple[Any, ...]) -> None:
    """Checks arguments, each given as its value followed by the types that it may have.

    Raises:
      WrongType: a value has another type.
    """
    for name, (value, *kinds) in arguments.items():
        if not isinstance(value, tuple(kinds)):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise WrongType(f"{name} is {value!r}; it must be of type {wanted}")


def _evaluating(targets: list[TokenizedRows]) -> loop.Evaluate:
    def evaluate(state: Training) -> dict[str, float]:
        return {rows.task: accuracy(state, rows) for rows in targets}

    return evaluate
