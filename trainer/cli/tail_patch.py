"""`flame-train tail-patch`: which task helps which category, as ratings for the mixture FLAMe-RM."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer.cli.run import RECIPE, prepared, read_rows

if TYPE_CHECKING:
    from trainer.collection.tasks.base import Task

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_POSITIVE = click.IntRange(min=1)


def _shard(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int]:
    if value is None:
        return 1, 1
    first, _, second = value.partition("/")
    if first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second):
        return int(first), int(second)
    raise click.BadParameter(f"{value!r} is not K/N with 1 <= K <= N")


def _category(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, list[str]]:
    from trainer.collection.mixture import THRESHOLDS

    found: dict[str, list[str]] = {}
    for value in values:
        name, _, listed = value.partition("=")
        tasks = [task.strip() for task in listed.split(",")]
        if not all(tasks):
            raise click.BadParameter(f"{value!r} is not NAME=TASK[,TASK...]")
        if name not in THRESHOLDS:
            raise click.BadParameter(f"{name!r} is none of {', '.join(THRESHOLDS)}: flame-rm knows these")
        if name in found:
            raise click.BadParameter(f"{name} is there twice")
        found[name] = tasks
    return found


@click.command("tail-patch")
@click.option("--base", type=_FOLDER, metavar="DIR", help="The partially trained model, a Hugging Face directory.")
@click.option("--data", type=_FOLDER, metavar="DIR", help="The data sets, a folder each, as released.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@click.option("--task", "names", multiple=True, metavar="TASK", help="Only this task; repeat it.")
@click.option("--shard", callback=_shard, metavar="K/N", help="Of N equal parts of the tasks only the Kth, from 1 on.")
@click.option("--licence", type=click.Choice(["any", "permissive"]), default="any", show_default=True)
@click.option("--extra", is_flag=True, help="The tasks that the paper does not have, too.")
@click.option(
    "--category",
    "stated",
    multiple=True,
    callback=_category,
    metavar="NAME=TASK[,TASK...]",
    help="Evaluation tasks that make up a category, in place of RewardBench's; repeat it.",
)
@click.option("--steps", default=3000, show_default=True, type=_POSITIVE, help="On each task.")
@click.option("--eval-every", default=300, show_default=True, type=_POSITIVE, metavar="STEPS")
@click.option("--eval-size", type=_POSITIVE, help="Examples of each evaluation task; without it all.")
@click.option("--save-every", default=1000, show_default=True, type=_POSITIVE, metavar="STEPS")
@click.option("--report", is_flag=True, help="Measure nothing; report what is in --out.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="SVG or PNG.")
@RECIPE
def tail_patch(base: Path | None, data: Path | None, out: Path, report: bool, plot: Path | None, **how: Any) -> None:
    """Rate how much each task helps each category of a benchmark (section 3.4 of the paper).

    The base is trained on one task at a time, and measured on the way. OUT/ratings.csv is what `flame-train mixture`
    and `flame-train run` take as --ratings for flame-rm; --plot draws the curves.

    A run that was killed goes on where it was. Several machines share the work by --task or --shard, each with an --out
    of its own: copy their the files of curves/ into one folder and --report on it.
    """
    from flame_rank.errors import UserError
    from flame_rank.io.writing import claimed

    if not report:
        if base is None or data is None:
            raise click.UsageError("--base DIR and --data DIR are missing; only --report does without")
        with claimed(out):
            _measure(base, data, out, lambda line: click.echo(line, err=True), **how)
    from trainer.finetune import tail_patch as patches

    curves = patches.read(out)
    if not curves:
        raise UserError(f"{out}: no curves in it; without --report they are measured")
    for line in patches.table(curves):
        click.echo(line)
    patches.write(out / "ratings.csv", patches.ratings_csv(curves))
    click.echo(f"{out / 'ratings.csv'}: ratings of {len(curves)} tasks", err=True)
    if plot:
        patches.draw(curves, plot)


def _measure(
    base: Path,
    data: Path,
    out: Path,
    say: Callable[[str], None],
    *,
    names: tuple[str, ...],
    shard: tuple[int, int],
    licence: str,
    extra: bool,
    stated: Mapping[str, list[str]],
    steps: int,
    eval_every: int,
    eval_size: int | None,
    save_every: int,
    model_parallel: int,
    template: Any,
    max_bad: float,
    **numbers: Any,
) -> None:
    from dataclasses import asdict

    from trainer.collection.decontamination import index_evaluation
    from trainer.collection.tasks import TASKS

    tasks = _chosen(data, names, permissive=licence == "permissive", extra=extra)[shard[0] - 1 :: shard[1]]
    model, recipe, mesh = prepared(base, template, steps, model_parallel, numbers)
    from trainer.finetune.loop import Training
    from trainer.finetune.tail_patch import CATEGORIES, curve_file, patch

    wanted = {category: stated.get(category, own) for category, own in CATEGORIES.items()}
    targets = _targets(wanted, data, say)
    categories = {
        category: [read_rows(model, recipe, task, data, out, max_bad, limit=eval_size) for task in found]
        for category, found in targets.items()
    }
    setup = {
        "base": f"{base.resolve().name}, {sum(path.stat().st_size for path in base.glob('*.safetensors'))} bytes",
        **asdict(recipe),
        "template": template,
        "eval_every": eval_every,
        "eval_size": eval_size,
        **{f"category {category}": [task.name for task in found] for category, found in targets.items()},
    }
    left = [task for task in tasks if not curve_file(out, task.name).exists()]
    say(f"{len(tasks)} tasks, {len(tasks) - len(left)} of them measured already")
    held = index_evaluation(TASKS, data, say) if left else None
    # All of them before the first training: a data set that is not as released is told at once.
    rows = [read_rows(model, recipe, task, data, out, max_bad, held=held) for task in left]
    patch(
        Training(model, recipe, mesh),
        rows,
        categories,
        out,
        setup=setup,
        every=eval_every,
        save_every=save_every,
        say=say,
    )


def _chosen(data: Path, names: Sequence[str], *, permissive: bool, extra: bool) -> "list[Task]":
    """The tasks to train on: those of the mixture that are under `data`, or those named."""
    from flame_rank.errors import UserError
    from trainer.collection.examples import is_available
    from trainer.collection.mixture import trained_on
    from trainer.collection.tasks import TASKS, by_name

    if names:
        tasks = [by_name(name) for name in dict.fromkeys(names)]
        for task in tasks:
            if task.split == "eval":
                raise UserError(f"--task {task.name}: it is there to be measured on, not to be trained on")
        return tasks
    found = [task for task in trained_on(TASKS, permissive=permissive, extra=extra) if is_available(task, data)]
    if not found:
        raise UserError(f"no task of the mixture is under {data}; `flame-train data fetch` gets the data sets")
    return found


def _targets(wanted: Mapping[str, Sequence[str]], data: Path, say: Callable[[str], None]) -> "dict[str, list[Task]]":
    """The tasks of each category that are under `data`."""
    from flame_rank.errors import UserError
    from trainer.collection.examples import is_available
    from trainer.collection.tasks import by_name

    found = {}
    for category, names in wanted.items():
        tasks = [by_name(name) for name in names]
        for task in tasks:
            if task.split != "eval" or not task.labels:
                raise UserError(f"category {category}: {task.name} is no evaluation task with labels")
        found[category] = [task for task in tasks if is_available(task, data)]
        missing = [task.name for task in tasks if task not in found[category]]
        if not found[category]:
            raise UserError(
                f"category {category}: none of its tasks is under {data}; get them by "
                f"`flame-train data fetch {' '.join(missing)} --data {data}`, or name others by --category"
            )
        if missing:
            say(f"category {category} goes without {', '.join(missing)}, not under {data}")
    return found
