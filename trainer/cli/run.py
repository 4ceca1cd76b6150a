"""`flame-train run`: trains a judge from one command."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flame_rank.cli.options import together
from trainer.cli.options import MAX_BAD, NEEDED_DATA

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from trainer.collection.tasks.base import Task
    from trainer.finetune.base_model import Base
    from trainer.finetune.loop import Training
    from trainer.finetune.recipe import Recipe
    from trainer.finetune.tokenized_rows import TokenizedRows


RECIPE = together(  # how to train: what a recipe has but its steps, and what `prepared` takes beside it
    click.option("--batch", default=8, show_default=True, type=click.IntRange(min=1)),
    click.option("--rate", default=1e-4, show_default=True, type=click.FloatRange(min=0, min_open=True)),
    click.option(
        "--schedule", default="constant", show_default=True, type=click.Choice(["constant", "cosine", "linear"])
    ),
    click.option("--warmup", default=0, show_default=True, type=click.IntRange(min=0), metavar="STEPS"),
    click.option(
        "--dropout",
        type=click.FloatRange(0, 1, max_open=True),
        metavar="RATE",
        help="Without it the paper's 0.05 for T5, and 0 for a decoder, most of which were trained without.",
    ),
    click.option("--max-input", default=2048, show_default=True, type=click.IntRange(min=64), metavar="TOKENS"),
    click.option("--max-target", default=1024, show_default=True, type=click.IntRange(min=1), metavar="TOKENS"),
    click.option(
        "--accumulate",
        type=click.IntRange(min=1),
        metavar="PARTS",
        help="Parts in which a batch is computed; without it, as few as memory has room for.",
    ),
    click.option("--clip", type=click.FloatRange(min=0, min_open=True), help="Norm of gradients at most."),
    click.option(
        "--lora", default=0, show_default=True, type=click.IntRange(min=0), metavar="RANK", help="0: train all."
    ),
    click.option(
        "--freeze",
        default=0,
        show_default=True,
        type=click.IntRange(min=0),
        metavar="LAYERS",
        help="The lowest layers of a decoder, and its embeddings, stay as they are: less computation and memory.",
    ),
    click.option(
        "--dtype", type=click.Choice(["float32", "bfloat16"]), help="Of the computation; without it, float32 on a CPU."
    ),
    click.option(
        "--by-length",
        is_flag=True,
        help="Batches of rows of like length: less padding, tasks mixed less within a batch.",
    ),
    click.option("--recompute", is_flag=True, help="Less memory, more computation; without effect on a CPU."),
    click.option("--model-parallel", default=1, show_default=True, type=click.IntRange(min=1), metavar="DEVICES"),
    click.option(
        "--template", type=click.Choice(["chat", "plain"]), help="Without it, chat where the base has a template."
    ),
    click.option("--seed", default=0, show_default=True),
    MAX_BAD,
)


@click.command()
@click.option(
    "--base", required=True, metavar="FILE.gguf|DIR|hf:ORG/NAME", help="The model to start from.",
)  # fmt: skip
@click.option(
    "--mixture",
    default="flame",
    show_default=True,
    metavar="NAME|FILE",
    help="flame, flame-rm, or a CSV of task,weight.",
)
@click.option("--ratings", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="For flame-rm.")
@NEEDED_DATA
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@click.option("--licence", type=click.Choice(["any", "permissive"]), default="any", show_default=True)
@click.option("--extra", is_flag=True, help="The tasks that the paper does not have, too.")
@click.option("--both-orders", is_flag=True, help="Show each pair of responses in both orders.")
@click.option(
    "--on-long", type=click.Choice(["cut", "skip"]), default="cut", show_default=True,
    help="Cut an example that is longer than --max-input or --max-target, or leave it out.",
)  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1), help="Without it the paper's: 60000, of flame-rm 3000.")
@RECIPE
@click.option("--eval", "evaluated", multiple=True, metavar="TASK", help="Measure on this task on the way; repeat it.")
@click.option("--eval-every", default=500, show_default=True, type=click.IntRange(min=1), metavar="STEPS")
@click.option("--eval-size", default=200, show_default=True, type=click.IntRange(min=1), help="Examples of each task.")
@click.option(
    "--save-every",
    type=click.IntRange(min=1),
    metavar="STEPS",
    help="Steps between checkpoints; without it 1000, or a tenth of a shorter run.",
)
@click.option("--keep", default=2, show_default=True, type=click.IntRange(min=1), help="Newest checkpoints that stay.")
@click.option("--log-every", default=20, show_default=True, type=click.IntRange(min=1), metavar="STEPS")
@click.option(
    "--distributed", is_flag=True, help="One process of many, on a cluster that jax knows (a TPU pod, Slurm)."
)
@click.option("--coordinator", metavar="HOST:PORT", help="One process of many: an address on the host of process 0.")
@click.option("--processes", type=click.IntRange(min=1), help="How many there are.")
@click.option("--process", type=click.IntRange(min=0), help="Which of them this one is.")
def run(
    base: str,
    mixture: str,
    ratings: Path | None,
    data: Path,
    out: Path,
    licence: str,
    extra: bool,
    both_orders: bool,
    on_long: str,
    steps: int | None,
    model_parallel: int,
    template: Any,
    evaluated: tuple[str, ...],
    eval_every: int,
    eval_size: int,
    save_every: int | None,
    keep: int,
    log_every: int,
    distributed: bool,
    coordinator: str | None,
    processes: int | None,
    process: int | None,
    max_bad: float,
    **numbers: Any,
) -> None:
    """Fine-tune a model on a mixture, the loss on target tokens alone, with the paper's numbers (section 3.5).

    OUT holds checkpoints step-N, each a Hugging Face directory that `flame-rank rerank --judge` reads, and the best one
    by --eval as `best`. A run that was killed goes on where it was when it is started again, to the last bit.
    What it measures on the way is in OUT/metrics.jsonl and, for TensorBoard, in OUT/tensorboard.

    On many hosts, run the same command on each with --distributed, or with --coordinator, --processes and --process;
    --base, --data and --out are folders that all of them share. The first process writes and prints.
    """
    if (coordinator, processes, process).count(None) not in (0, 3):
        raise click.UsageError("--coordinator, --processes and --process go together")
    from trainer.finetune import processes as hosts

    if distributed or coordinator:
        hosts.initialize(coordinator, processes, process)
    from flame_rank.judges.model_location import locate
    from trainer.collection.tasks import by_name

    stated = Stated.read(mixture, ratings, licence=licence, extra=extra)
    measures = [by_name(name) for name in evaluated]
    _, path = locate(base, "--base")
    model, recipe, mesh = prepared(path, template, steps, model_parallel, numbers, mixture)
    from flame_rank.io.writing import claimed
    from trainer.finetune.loop import CheckpointPolicy, Training, train

    def say(line: str) -> None:
        if hosts.is_primary():
            click.echo(line, err=True)

    with claimed(out) if hosts.is_primary() else nullcontext():
        training = Training(model, recipe, mesh)
        rows, weights = read_mixture(
            model, recipe, stated, data, out, max_bad, say,
            both_orders=both_orders, skip=on_long == "skip",
        )  # fmt: skip
        measured = [read_rows(model, recipe, task, data, out, max_bad, limit=eval_size) for task in measures]
        train(
            training,
            rows,
            weights,
            out,
            CheckpointPolicy(every=saves(recipe.steps, save_every, say), last=keep, log=log_every),
            evaluate=_evaluation(measured) if measured else None,
            evaluate_every=eval_every,
            say=say,
        )
    say(f"{out / f'step-{training.done:07d}'}: done; flame-rank rerank samples.jsonl --judge takes it")


def saves(steps: int, every: int | None, say: Callable[[str], None]) -> int:
    """Steps between the checkpoints of a run of so many steps."""
    if every is None:
        return min(1000, -(-steps // 10))
    if every > steps:
        say(f"--save-every {every}: the run has {steps} steps, and is saved at its end only")
    return min(every, steps)


def prepared(
    base: Path, template: Any, steps: int | None, model_parallel: int, numbers: dict[str, Any], mixture: str = ""
) -> "tuple[Base, Recipe, Mesh]":
    """The model, how it is trained and on which devices, from what the options of RECIPE say; without `steps`, as many
    as the paper has for the mixture."""
    from trainer.finetune.malloc import keep_freed_memory

    keep_freed_memory()
    try:
        import jax
        import optax  # noqa: F401
        import tensorboardX  # noqa: F401
    except ImportError as error:
        raise click.ClickException(f"{error}; pip install 'flame-rank[train]'") from error
    from flame_rank.errors import UserError
    from flame_rank.model import sharding
    from trainer.finetune import base_model
    from trainer.finetune import processes as hosts
    from trainer.finetune.recipe import DROPOUT, STEPS, Recipe

    numbers["dtype"] = numbers["dtype"] or ("float32" if jax.default_backend() == "cpu" else "bfloat16")
    stated = numbers.pop("dropout")
    try:
        recipe = Recipe(
            steps=steps or STEPS.get(mixture, STEPS["flame"]), dropout=DROPOUT if stated is None else stated, **numbers
        )
        mesh = sharding.mesh(model_parallel)
    except ValueError as error:
        raise UserError(str(error)) from error
    model = base_model.load(base, mesh, template=template)
    if stated is None and model.joined:
        recipe = replace(recipe, dropout=0.0)
        if hosts.is_primary():
            click.echo(
                f"no dropout: most decoders were trained without and do not bear it (the paper: --dropout {DROPOUT})",
                err=True,
            )
    if recipe.max_input >= model.longest:
        raise UserError(f"--max-input {recipe.max_input}: the model has {model.longest} positions")
    return model, recipe, mesh


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What a mixture is made of, as it is said before any data is read.

    Attributes:
      tasks: all of its tasks, whether their data is at hand or not.
      weights: of each task, by name, if a file states them.
      ratings: for flame-rm, from which weights follow.
    """

    tasks: "Sequence[Task]"
    weights: dict[str, float] | None = None
    ratings: Any = None

    @classmethod
    def read(cls, mixture: str, ratings: Path | None, *, licence: str, extra: bool) -> "Stated":
        """Reads the files that --mixture and --ratings name.

        Raises:
          UserError: one is missing or not as it should be, or names a task that is not known.
        """
        from trainer.collection.mixture import read_needed_ratings, read_weights, trained_on
        from trainer.collection.mixture_options import MixtureOptions
        from trainer.collection.tasks import TASKS, by_name
        from trainer.finetune.recipe import STEPS

        if mixture not in STEPS:
            weights = read_weights(Path(mixture))
            return cls(tasks=[by_name(name) for name in weights], weights=weights)
        tasks = trained_on(TASKS, permissive=licence == "permissive", extra=extra)
        return cls(tasks=tasks, ratings=read_needed_ratings(MixtureOptions(mixture=mixture, ratings=ratings)))


def read_mixture(
    model: Any,
    recipe: Any,
    mixture: "Stated",
    data: Path,
    out: Path,
    max_bad: float,
    say: Callable[[str], None],
    *,
    both_orders: bool = False,
    skip: bool = False,
) -> "tuple[list[TokenizedRows], dict[str, float]]":
    """The rows of a mixture's tasks that are under `data`, without what touches evaluation texts, and their weights."""
    from flame_rank.errors import UserError
    from trainer.collection.decontamination import index_evaluation
    from trainer.collection.examples import has_two_orders, is_available
    from trainer.collection.mixture import weigh
    from trainer.collection.tasks import TASKS, by_name
    from trainer.finetune.tokenized_rows import NothingLeftError

    tasks = mixture.tasks
    here = [task for task in tasks if is_available(task, data)]
    if not here:
        raise UserError(f"no task of the mixture is under {data}; `flame-train data fetch` gets the data sets")
    if missing := len(tasks) - len(here):
        say(f"{missing} of the mixture's {len(tasks)} tasks are not under {data}")
    held = index_evaluation(TASKS, data, say)
    rows = []
    for task in here:
        try:
            one = read_rows(model, recipe, task, data, out, max_bad, held=held, both_orders=both_orders, skip=skip)
        except NothingLeftError as error:
            if not skip:
                raise
            say(str(error))
            continue
        rows.append(one)
        what = "more are too long" if skip else "of them cut"
        say(f"{task.name}: {len(rows[-1])} examples, {rows[-1].cut} {what}")
    if not rows:
        raise UserError(f"no example of the mixture fits --max-input {recipe.max_input}; --on-long cut takes its parts")
    found = {one.task: len(one) // (1 + (both_orders and has_two_orders(by_name(one.task)))) for one in rows}
    weights = {name: mixture.weights[name] for name in found} if mixture.weights else weigh(found, mixture.ratings)
    return rows, weights


def read_rows(
    model: Any,
    recipe: Any,
    task: Any,
    data: Path,
    out: Path,
    max_bad: float,
    *,
    held: Any = None,
    limit: int | None = None,
    both_orders: bool = False,
    skip: bool = False,
) -> "TokenizedRows":
    """The rows of one task; the first `limit` of them."""
    from itertools import islice

    from flame_rank.errors import UserError
    from trainer.collection.decontamination import without_overlap
    from trainer.collection.examples import examples, in_both_orders
    from trainer.finetune.processes import primary_first
    from trainer.finetune.tokenized_rows import build, identity

    def found() -> Any:
        every = examples(task, data, max_bad=max_bad)
        every = without_overlap(every, held) if held is not None else every
        return islice(in_both_orders(every, task) if both_orders else every, limit)

    rest = f"{len(held) if held is not None else limit}{' both orders' * both_orders}"
    stamp = identity(model.path, task, data, rest)
    sizes = {"max_input": recipe.max_input, "max_target": recipe.max_target, "skip": skip}
    try:
        with primary_first(f"the rows of {task.name}"):
            return build(model.form, stamp, task, found, out / "rows", **sizes, say=partial(click.echo, err=True))
    except UserError:  # some are a ValueError, too, and name their file
        raise
    except ValueError as error:
        raise UserError(f"{model.path}: {error}") from error


def _evaluation(measured: "list[TokenizedRows]") -> "Callable[[Training], dict[str, float]]":
    from trainer.finetune.evaluation import accuracy

    def evaluate(training: "Training") -> dict[str, float]:
        return {rows.task: accuracy(training, rows) for rows in measured}

    return evaluate
