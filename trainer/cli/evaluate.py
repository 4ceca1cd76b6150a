"""`flame-train evaluate`: makes a judge's report card."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flame_rank.cli.options import JUDGE, load_judge
from flame_rank.judges.options import JudgeOptions
from trainer.cli.options import FILE, NEEDED_DATA, NEW_FOLDER

if TYPE_CHECKING:
    from flame_rank.judges.base import Judge
    from trainer.measuring.card import Card
    from trainer.measuring.released_suite import ReleasedCard

SUITES = {  # name: which benchmarks of the paper
    "flame": None,
    "rewardbench": ("RewardBench",),
    "aggrefact": ("LLM-AggreFact",),
    "pairs": ("AlpacaFarm", "RankGen", "Contrastive search", "LitMT", "HHH", "CoPoem", "Expert LFQA"),
    "pointwise": ("HelpSteer", "Dipper", "Summary feedback"),
}
RELEASED = ("rewardbench2", "judgebench", "rm-bench")


@click.command()
@JUDGE
@NEEDED_DATA
@click.option(
    "--suite",
    type=click.Choice([*SUITES, *RELEASED]),
    default="flame",
    show_default=True,
    help="The evaluation tasks to ask: all 53 of the paper (flame), those of some of its benchmarks, or another "
    "benchmark whose files are under --data in the folder rewardbench2, judgebench or rm-bench.",
)
@click.option(
    "--task",
    "names",
    multiple=True,
    metavar="TASK",
    help="Ask this task instead of a suite; repeat the option for more.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Ask only N examples of each task, the same ones in every run.  [default: all]",
)
@click.option(
    "--against", metavar="JUDGE", help="Also measure the paired differences from this judge.  [default: no other judge]"
)
@click.option(
    "--out",
    type=NEW_FOLDER,
    metavar="DIR",
    help="Keep the answers in this folder, so that an interrupted run resumes, and write card.md and card.json to it.  "
    "[default: keep no answers]",
)
@click.option("--json", "record", type=FILE, metavar="FILE", help="Also write the figures to this file, as JSON.")
def evaluate(
    judge: str,
    judge_options: JudgeOptions,
    data: Path,
    suite: str,
    names: tuple[str, ...],
    limit: int | None,
    against: str | None,
    out: Path | None,
    record: Path | None,
) -> None:
    """Print a judge's report card: how often it agrees with people on the paper's evaluation tasks.

    A language model is asked each task in the task's own words, and pairs in both orders. A judge that only compares
    is asked the pairwise tasks only. Each figure has its 95 % interval and is compared with chance, with choosing the
    first response, the longer response or the most frequent label, and with the paper's figures if all tasks of the
    benchmark are under --data.
    """
    import msgspec

    from flame_rank.io.writing import write_whole
    from trainer.measuring.benchmarks import BENCHMARKS, tasks_of

    if out is not None:
        out.mkdir(parents=True, exist_ok=True)

    def load() -> "list[Judge]":
        return [load_judge(spec, judge_options) for spec in (judge, against) if spec is not None]

    result: Card | ReleasedCard
    if suite in RELEASED and not names:
        text, result = _on_released(suite, load, data, limit, out)
    else:
        chosen = names or [name for part in SUITES[suite] or BENCHMARKS for name in tasks_of(BENCHMARKS[part])]
        text, result = _on_tasks(chosen, judge, load, data, limit, out)
    click.echo(text, nl=False)
    if out is not None:
        write_whole(out / "card.md", text.encode())
    for file in filter(None, (record, out and out / "card.json")):
        write_whole(file, msgspec.json.format(msgspec.json.encode(asdict(result))) + b"\n")


def _on_tasks(
    names: Sequence[str],
    judge: str,
    load: "Callable[[], list[Judge]]",
    data: Path,
    limit: int | None,
    out: Path | None,
) -> "tuple[str, Card]":
    """Returns the card of evaluation tasks of the collection, as text and as figures."""
    from tqdm import tqdm

    from flame_rank.errors import UserError
    from trainer.collection.examples import is_available
    from trainer.collection.tasks import by_name
    from trainer.collection.training_data import contacts
    from trainer.measuring.answer_file import AnswerFile
    from trainer.measuring.asking import can_answer
    from trainer.measuring.card import card
    from trainer.measuring.rendering import markdown
    from trainer.measuring.suite import Asked, TaskLine, read_examples, run

    tasks = [by_name(name) for name in dict.fromkeys(names)]
    here = [task for task in tasks if is_available(task, data)]
    if not here:
        raise UserError(f"none of the {len(tasks)} tasks is under {data}; `flame-train data fetch` gets them")
    loaded = load()
    able = [task for task in here if all(can_answer(each, task) for each in loaded)]
    if not able:
        raise UserError(f"{here[0].name} and {len(here) - 1} others need a language model; this judge can only compare")
    given = {task.name: read_examples(task, data, limit) for task in able}
    kept = AnswerFile(TaskLine, out and out / "answers.jsonl")
    asked: list[dict[str, Asked]] = []
    with tqdm(total=len(loaded) * sum(map(len, given.values())), unit=" examples", disable=None) as bar:
        for each in loaded:
            asked.append({task.name: run(each, task, given[task.name], kept, done=bar.update) for task in able})
    result = card(
        loaded[0].name,
        asked[0],
        against=loaded[1].name if len(loaded) > 1 else "",
        other=asked[1] if len(loaded) > 1 else None,
        not_applicable=[task.name for task in here if task not in able],
        missing=[task.name for task in tasks if task not in here],
        contact=contacts(judge, [task.name for task in able]),
        limit=limit,
    )
    if len(result.unanswered) == len(able):
        why = f"`flame-rank rerank --judge {judge}` says why"
        raise UserError(f"{loaded[0].name}: no valid answer to {', '.join(result.unanswered)}; {why}")
    return markdown(result), result


def _on_released(
    name: str, load: "Callable[[], list[Judge]]", data: Path, limit: int | None, out: Path | None
) -> "tuple[str, ReleasedCard]":
    """Returns the card of a released benchmark, as text and as figures."""
    from tqdm import tqdm

    from flame_rank.errors import UserError
    from trainer.measuring.answer_file import AnswerFile
    from trainer.measuring.released import BENCHMARKS, first_of_each
    from trainer.measuring.released_figures import rows
    from trainer.measuring.released_suite import ItemLine, ReleasedCard, ask, markdown, share_flipped

    items = first_of_each(BENCHMARKS[name].read(data), limit)
    loaded = load()
    kept = AnswerFile(ItemLine, out and out / f"answers-{name}.jsonl")
    with tqdm(total=len(loaded) * len(items), unit=" prompts", disable=None) as bar:
        answers = [ask(each, name, items, kept, done=bar.update) for each in loaded]
    for each, given in zip(loaded, answers, strict=True):
        if not any(answer.valid for answer in given):
            raise UserError(f"{each.name}: no valid answer; `flame-rank rerank` with this judge says why")
    valid = [all(answer.valid for answer in of_item) for of_item in zip(*answers, strict=True)]
    if not any(valid):
        raise UserError("there is no prompt to which both judges gave a valid answer")
    result = ReleasedCard(
        benchmark=name,
        judge=loaded[0].name,
        against=loaded[1].name if len(loaded) > 1 else "",
        rows=tuple(rows(name, answers[0], answers[1] if len(loaded) > 1 else None)),
        invalid=valid.count(False),
        flipped=share_flipped(answers[0]),
        limit=limit,
    )
    return markdown(result), result
