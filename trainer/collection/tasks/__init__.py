"""The collection: every task, in the order of Table 6 of the paper and of its section 4.1."""

from trainer.collection.tasks import (
    aggrefact,
    answers,
    claims,
    code,
    dialogue,
    dialogue_quality,
    genie,
    hallucination,
    held_out,
    held_out_ratings,
    hhh,
    inference,
    instruction_tuning,
    language,
    longform,
    mathematics,
    preferences,
    ratings,
    rewardbench,
    safety,
    similarity,
    summaries,
    summary_extras,
    summary_facts,
    summary_ratings,
)
from trainer.collection.tasks.base import Task

TASKS: tuple[Task, ...] = (
    *inference.TASKS,
    *similarity.TASKS,
    *dialogue.TASKS,
    *hallucination.TASKS,
    *summary_facts.TASKS,
    *summaries.TASKS,
    *summary_ratings.TASKS,
    *genie.TASKS,
    *preferences.TASKS,
    *answers.TASKS,
    *ratings.TASKS,
    *language.TASKS,
    *longform.TASKS,
    *safety.TASKS,
    *code.TASKS,
    *mathematics.TASKS,
    *instruction_tuning.TASKS,
    *claims.TASKS,
    *dialogue_quality.TASKS,
    *summary_extras.TASKS,
    *rewardbench.TASKS,
    *aggrefact.TASKS,
    *held_out.TASKS,
    *hhh.TASKS,
    *held_out_ratings.TASKS,
)


def by_name(name: str) -> Task:
    """Returns the task with this name.

    Raises:
      UserError: no task has this name.
    """
    from difflib import get_close_matches

    from flame_rank.errors import UserError

    for task in TASKS:
        if task.name == name:
            return task
    near = get_close_matches(name, [task.name for task in TASKS])
    hint = f"did you mean {', '.join(near)}?" if near else "`flame-train tasks` lists them"
    raise UserError(f"no task {name!r}; {hint}")
