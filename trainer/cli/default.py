"""`flame-train default`: learns the judge that ships."""

from pathlib import Path
from typing import get_args

import click

from flame_rank.model.choices import Dtype
from trainer.cli.options import NEEDED_DATA, NEW_FOLDER, report, training_extra


@click.command()
@NEEDED_DATA
@click.option(
    "--model",
    metavar="FILE.gguf|DIR|hf:ORG/NAME",
    help="The language model that reads the candidates.  [default: the model of the judge that ships]",
)
@click.option(
    "--out",
    required=True,
    type=NEW_FOLDER,
    metavar="DIR",
    help="The folder to write the judge to, with its figures.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the random choice of problems.",
)
@click.option(
    "--without-reverse",
    is_flag=True,
    help="Leave out the likelihood of the prompt after each candidate, which takes longer than all other reading.",
)
@click.option(
    "--dtype",
    type=click.Choice(get_args(Dtype)),
    help="The number format of the computation.  [default: float32 on a CPU, bfloat16 elsewhere]",
)
def default(data: Path, model: str | None, out: Path, seed: int, without_reverse: bool, dtype: Dtype | None) -> None:
    """Learn the weights of the judge that ships: how much each kind of evidence counts.

    The command prints what each kind of evidence adds on sources from which the weights were not learned. If a run is
    interrupted, the same command resumes it.
    """
    with training_extra():
        from trainer.default_judge.learning import build
    from flame_rank.io.writing import claimed
    from flame_rank.judges.model_location import identify

    stated, path = identify(model)
    without = ("reverse",) if without_reverse else ()
    with claimed(out):
        build(data, stated, path, out, seed=seed, without=without, dtype=dtype, say=report)
