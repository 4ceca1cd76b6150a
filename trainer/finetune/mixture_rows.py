"""Reads the tokenised rows of a mixture's tasks, without the examples that share text with an evaluation task."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flame_rank.errors import UserError
from trainer.collection import tasks as collection
from trainer.collection.decontamination import NgramIndex, index_evaluation, without_overlap
from trainer.collection.examples import Example, examples, has_two_orders, in_both_orders, is_available
from trainer.collection.mixture import Mixture
from trainer.collection.tasks.base import Task
from trainer.collection.training_data import TrainingData
from trainer.finetune.base_model import Base
from trainer.finetune.processes import primary_first
from trainer.finetune.recipe import Recipe
from trainer.finetune.run_options import ExampleOptions
from trainer.finetune.tokenized_rows import MixtureRows, NothingLeftError, TokenizedRows, build, identity


@dataclass(frozen=True, kw_only=True)
class RowReader:
    """Reads the examples of tasks as token ids.

    Attributes:
      base: the model whose tokenizer is used.
      recipe: the recipe, which states the longest input and target.
      data: the folder of data sets.
      out: the folder of the run; rows are kept under `rows` in it and reused at the next start.
      options: how examples become token ids.
      max_bad: the share of a task's records that may be bad.
      say: receives lines about the rows.
    """

    base: Base
    recipe: Recipe
    data: Path
    out: Path
    options: ExampleOptions
    max_bad: float = 0.001
    say: Callable[[str], None] = print

    def read(self, task: Task, *, evaluation: NgramIndex | None = None, limit: int | None = None) -> TokenizedRows:
        """Reads the rows of one task.

        Args:
          evaluation: the evaluation texts; examples that share text with them are left out.
          limit: the number of examples to read, evenly spread over the task's examples; None reads all.

        Raises:
          NothingLeftError: no example is left.
          UserError: the data set cannot be read, or the tokenizer does not fit the format.
        """
        both_orders, skip = self.options.both_orders, self.options.on_long == "skip"

        def chosen() -> Iterator[Example]:
            every = examples(task, self.data, max_bad=self.max_bad)
            every = without_overlap(every, evaluation) if evaluation is not None else every
            every = in_both_orders(every, task) if both_orders else every
            return every if limit is None else _spread(list(every), limit)

        sampled = f"{limit} spread" if limit is not None else "all"
        rest = f"{len(evaluation) if evaluation is not None else sampled}{' both orders' * both_orders}"
        made_of = identity(self.base.path, task, self.data, rest)
        try:
            with primary_first(f"the rows of {task.name}"):
                return build(
                    self.base.form,
                    made_of,
                    task,
                    chosen,
                    self.out / "rows",
                    max_input=self.recipe.max_input,
                    max_target=self.recipe.max_target,
                    skip=skip,
                    responses=self.options.responses,
                    say=self.say,
                )
        except UserError:  # some are a ValueError, too, and name their own file
            raise
        except ValueError as error:
            raise UserError(f"{self.base.path}: {error}") from error

    def read_mixture(self, mixture: Mixture) -> tuple[MixtureRows, TrainingData]:
        """Reads the rows of the tasks of a mixture whose data sets are under `data`, computes the tasks' weights, and
        states what will be trained on.

        Raises:
          UserError: no task's data set is there, or no example is left.
        """
        available = [task for task in mixture.tasks if is_available(task, self.data)]
        if not available:
            raise UserError(f"no task of the mixture is under {self.data}; `flame-train data fetch` gets the data sets")
        if missing := len(mixture.tasks) - len(available):
            self.say(f"{missing} of the mixture's {len(mixture.tasks)} tasks are not under {self.data}")
        evaluation = index_evaluation(collection.TASKS, self.data, self.say)
        skip, rows = self.options.on_long == "skip", []
        for task in available:
            try:
                read = self.read(task, evaluation=evaluation)
            except NothingLeftError as error:
                if not skip:
                    raise
                self.say(str(error))
                continue
            rows.append(read)
            what = "more are too long" if skip else "of them cut"
            self.say(f"{task.name}: {len(read)} examples, {read.cut} {what}")
        if not rows:
            raise UserError(
                f"no example of the mixture fits --max-input {self.recipe.max_input}; --on-long cut shortens examples "
                "to fit"
            )
        counts = {read.task: self._examples(read) for read in rows}
        trained = TrainingData(tasks=counts, checked=evaluation.checked)
        weights = mixture.weigh(counts)
        return MixtureRows(tasks=rows, weights={name: weights[name] for name in counts}), trained

    def _examples(self, rows: TokenizedRows) -> int:
        """Returns the number of a task's examples, each counted once if it is shown in both orders."""
        twice = self.options.both_orders and has_two_orders(collection.by_name(rows.task))
        return len(rows) // 2 if twice else len(rows)


def _spread(every: Sequence[Example], count: int) -> Iterator[Example]:
    """Takes examples at equal distances: a release often has its sources one after the other."""
    return (every[k * len(every) // count] for k in range(count)) if count < len(every) else iter(every)
