"""Trains FLAMe and FLAMe-RM on a small instruction-tuned decoder and measures both beside it: sections 3 and 4 of the
paper in one command.

    python examples/train_flame.py --base SmolLM2-135M-Instruct.Q4_1.gguf --data DATA --out OUT

The stages are commands of flame-train, which are printed. Each resumes where it was interrupted, and so does this one.

    OUT/flame      the training on examples/flame_mixture.csv
    OUT/patches    a tail patch for every task, from the checkpoint at a third of that training, and its ratings
    OUT/flame-rm   the training from the base on the re-weighted mixture
    OUT/cards      the report cards of the base, FLAMe and FLAMe-RM

The recipe is that of a model of 135 M parameters on two CPU cores: adapters of the upper layers are trained, at a
higher rate than the paper's, on inputs of at most 448 tokens, so that many examples fit into few hours. Responses are
read separately: a comparison is the difference of two scores, which so small a model learns from fewer examples.
"""

import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

MIXTURE = Path(__file__).with_name("flame_mixture.csv")
RECIPE = {
    "--lora": "32",
    "--freeze": "15",
    "--batch": "32",
    "--share": "4",
    "--rate": "1e-3",
    "--schedule": "linear",
    "--warmup": "15",
    "--clip": "1",
    "--max-input": "448",
    "--max-target": "16",
    "--responses": "separate",
}
PATCH_RECIPE = {"--schedule": "constant", "--warmup": "2"}  # a patch has few steps
# Of RewardBench's categories LLMBar and the programs alone are in a file that may be redistributed: HHH and Expert LFQA
# stand in for chat and safety, and nothing for mathematics.
CATEGORIES = {
    "chat": ["hhh-helpful", "expert-lfqa"],
    "chat-hard": [f"rewardbench-llmbar-{part}" for part in ("natural", "adver-neighbor", "adver-gptinst")],
    "code": [f"rewardbench-hep-{language}" for language in ("python", "cpp", "java")],
    "safety": ["hhh-harmless"],
}
Stage = tuple[str, ...]


def _words(options: dict[str, str]) -> list[str]:
    return [word for option in options.items() for word in option]


def stages(
    base: str, data: Path, out: Path, steps: int, patch_steps: int, limit: int | None, changed: dict[str, str]
) -> Iterator[Stage]:
    """Yields the arguments of flame-train for each stage."""
    recipe, patch_recipe = _words(RECIPE | changed), _words(RECIPE | PATCH_RECIPE | changed)
    shared, chosen = ["--data", str(data)], ["--licence", "permissive", "--extra"]
    rows = ["--on-long", "skip", "--by-length"]
    flame, patches, rm = (out / name for name in ("flame", "patches", "flame-rm"))
    every = max(1, steps // 6)
    saved = ["--steps", str(steps), "--save-every", str(every), "--keep", str(steps)]
    run = ("run", "--base", base, *shared, *recipe, *rows, *saved)
    yield (*run, "--mixture", str(MIXTURE), "--out", str(flame))
    measured = [word for name, tasks in CATEGORIES.items() for word in ("--category", f"{name}={','.join(tasks)}")]
    yield (
        *(
            "tail-patch",
            "--base",
            str(flame / f"step-{min(2 * every, steps):07d}"),
            *shared,
            *chosen,
            *patch_recipe,
            *measured,
        ),
        *("--steps", str(patch_steps), "--eval-every", str(patch_steps), "--eval-size", str(limit or 40)),
        *("--by-length", "--save-every", str(patch_steps), "--out", str(patches)),
    )
    ratings = str(patches / "ratings.csv")
    yield (*run, *chosen, "--mixture", "flame-rm", "--ratings", ratings, "--out", str(rm))
    for name, judge in (("base", base), *((kind.name, str(kind / f"step-{steps:07d}")) for kind in (flame, rm))):
        against = () if name == "base" else ("--against", base)
        few = () if limit is None else ("--limit", str(limit))
        yield ("evaluate", "--judge", judge, *against, "--data", str(data), *few, "--out", str(out / "cards" / name))


def _run(stage: Stage) -> int:
    """Runs a stage. At Ctrl-C it waits until the stage, which the terminal interrupts too, has saved what it did."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run([sys.executable, "-m", "trainer", *stage]).returncode
    finally:
        signal.signal(signal.SIGINT, before)


@click.command()
@click.option("--base", required=True, help="A decoder: a GGUF file, a Hugging Face directory or hf:ORG/NAME.")
@click.option("--data", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--steps", default=3000, show_default=True, help="Of each training.")
@click.option("--patch-steps", default=30, show_default=True, help="Of each tail patch.")
@click.option("--limit", type=int, help="Examples of each evaluation task.  [default: all; 40 for the tail patches]")
@click.option("--set", "settings", multiple=True, metavar="OPTION=VALUE", help="Of the recipe, such as lora=32.")
@click.option("--only", multiple=True, metavar="N", type=int, help="Run only these stages, counted from 1.")
@click.option("--show", is_flag=True, help="Print the commands and run nothing.")
def main(
    base: str,
    data: Path,
    out: Path,
    steps: int,
    patch_steps: int,
    limit: int | None,
    settings: tuple[str, ...],
    only: tuple[int, ...],
    show: bool,
) -> None:
    """Trains FLAMe and FLAMe-RM on a small decoder, and prints their cards beside its own."""
    changed = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise click.BadParameter(f"{setting!r} is not OPTION=VALUE", param_hint="--set")
        changed[f"--{name}"] = value
    out.mkdir(parents=True, exist_ok=True)
    for number, stage in enumerate(stages(base, data, out, steps, patch_steps, limit, changed), 1):
        if only and number not in only:
            continue
        click.echo(f"[{number}] flame-train {shlex.join(stage)}", err=not show)
        if "--against" in stage and not show:
            known, own = (folder / "answers.jsonl" for folder in (out / "cards" / "base", Path(stage[-1])))
            if known.exists() and not own.exists():  # so that the base is not asked again
                own.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(known, own)
        if not show and (status := _run(stage)):
            raise click.ClickException(f"stage {number} ended with status {status}; the same command resumes it")


if __name__ == "__main__":
    main()
