"""`flame-train run`: trains a judge from one command."""

from pathlib import Path

import click

from flame_rank.cli.fields import options
from trainer.cli.options import MAX_BAD, NEEDED_DATA, NEW_FOLDER, report, training_extra
from trainer.collection.mixture_options import MixtureOptions
from trainer.finetune.recipe import Recipe
from trainer.finetune.run_options import CheckpointPolicy, Devices, EvaluationOptions, ExampleOptions


@click.command()
@click.option("--base", required=True, metavar="FILE.gguf|DIR|hf:ORG/NAME", help="The model to start from.")
@options(MixtureOptions, "mixture", without=("cap", "temperature"))
@NEEDED_DATA
@click.option(
    "--out",
    required=True,
    type=NEW_FOLDER,
    metavar="DIR",
    help="The folder of the run: checkpoints, metrics and what is needed to resume it.",
)
@options(Recipe, "recipe")
@options(ExampleOptions, "examples")
@options(EvaluationOptions, "evaluation")
@options(CheckpointPolicy, "checkpoints")
@options(Devices, "devices")
@MAX_BAD
def run(
    base: str,
    mixture: MixtureOptions,
    data: Path,
    out: Path,
    recipe: Recipe,
    examples: ExampleOptions,
    evaluation: EvaluationOptions,
    checkpoints: CheckpointPolicy,
    devices: Devices,
    max_bad: float,
) -> None:
    """Fine-tune a model on a mixture, with the paper's numbers (section 3.5) and the loss on target tokens alone.

    The command writes checkpoints OUT/step-N, each a Hugging Face directory that `flame-rank rerank --judge` reads. The
    checkpoint with the highest mean accuracy on the tasks of --eval is OUT/best. Metrics are in OUT/metrics.jsonl and,
    for TensorBoard, in OUT/tensorboard. A killed run is resumed by the same command, exactly, to the last bit; at
    Ctrl-C the current step is completed and saved first.

    On many hosts, run the same command on each, with --distributed or with --coordinator, --processes and --process;
    --base, --data and --out are folders that all hosts share. Only the first process writes and prints.
    """
    with training_extra():
        from trainer.finetune.run import train
    last = train(
        base,
        data=data,
        out=out,
        mixture=mixture,
        recipe=recipe,
        examples=examples,
        evaluation=evaluation,
        checkpoints=checkpoints,
        devices=devices,
        max_bad=max_bad,
        say=report,
    )
    from trainer.finetune.processes import is_primary

    if is_primary():
        report(f"{last}: done; flame-rank rerank samples.jsonl --judge takes it")
