"""`flame-train tail-patch`: rates how much each task helps each category, for the mixture FLAMe-RM."""

from pathlib import Path

import click

from flame_rank.cli.fields import options
from flame_rank.errors import UserError
from trainer.cli.options import DATA, FILE, FOLDER, MAX_BAD, NEW_FOLDER, report, training_extra
from trainer.finetune.recipe import Recipe
from trainer.finetune.run_options import Devices, ExampleOptions
from trainer.finetune.tail_patch_options import TailPatchOptions


@click.command("tail-patch")
@click.option(
    "--base",
    type=FOLDER,
    metavar="DIR",
    help="The partially trained model, a Hugging Face directory; needed without --report.",
)
@DATA
@click.option(
    "--out",
    required=True,
    type=NEW_FOLDER,
    metavar="DIR",
    help="The folder to write: a curve for each task, and ratings.csv.",
)
@options(TailPatchOptions, "patches")
@click.option("--report", "only_report", is_flag=True, help="Measure nothing; report the curves that are in --out.")
@click.option("--plot", type=FILE, metavar="FILE", help="Draw the curves into FILE, SVG or PNG by its ending.")
@options(Recipe, "recipe", steps=3000)
@options(ExampleOptions, "examples", without=("both_orders", "on_long"))
@options(Devices, "devices", without=("distributed", "coordinator", "processes", "process"))
@MAX_BAD
def tail_patch(
    base: Path | None,
    data: Path | None,
    out: Path,
    patches: TailPatchOptions,
    only_report: bool,
    plot: Path | None,
    recipe: Recipe,
    examples: ExampleOptions,
    devices: Devices,
    max_bad: float,
) -> None:
    """Rate how much each task helps each category of a benchmark (section 3.4 of the paper).

    The base is trained on one task at a time, and its accuracy is measured during the training. `flame-train mixture`
    and `flame-train run` take OUT/ratings.csv as --ratings for flame-rm; --plot draws the curves.

    If a run is killed, the same command resumes it. Several machines can share the work with --task or --shard, each
    with its own --out: copy the files of their curves/ folders into one folder and run --report on it.
    """
    if not only_report:
        if base is None or data is None:
            raise click.UsageError("--base DIR and --data DIR are missing; only --report works without them")
        with training_extra():
            from trainer.finetune.tail_patch import measure
        measure(
            base,
            data=data,
            out=out,
            patches=patches,
            recipe=recipe,
            examples=examples,
            devices=devices,
            max_bad=max_bad,
            say=report,
        )
    from flame_rank.io.writing import write_whole
    from trainer.finetune.tail_patch_curves import draw, ratings_csv, read_curves, table

    curves = read_curves(out)
    if not curves:
        raise UserError(f"{out}: no curves in it; leave --report out to measure them")
    for line in table(curves, patches.thresholds()):
        click.echo(line)
    write_whole(out / "ratings.csv", ratings_csv(curves))
    report(f"{out / 'ratings.csv'}: ratings of {len(curves)} tasks")
    if plot:
        draw(curves, plot)
