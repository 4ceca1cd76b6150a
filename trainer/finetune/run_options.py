"""The options of a training run besides its recipe: its examples, measurements, checkpoints and devices. Imports
nothing heavy, because the commands' help is made from it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from flame_rank.fields import described, self_documented
from flame_rank.model.choices import Responses


@self_documented
@dataclass(frozen=True, kw_only=True)
class ExampleOptions:
    """How examples become token ids.

    Attributes:
      {options}
    """

    template: Literal["chat", "plain"] | None = described(
        None,
        "Format examples with the base's chat template (chat), or without it (plain).",
        automatic="chat if the base has a chat template",
    )
    responses: Responses = described(
        "joint",
        "Read the second response of a comparison after the first one (joint), or each by itself (separate): the judge "
        "then gives each candidate a score, and a comparison is the difference of two. For decoders.",
    )
    both_orders: bool = described(
        False, "Show each pair of responses in both orders, which --responses separate does not tell apart."
    )
    on_long: Literal["cut", "skip"] = described(
        "cut", "If an example is longer than --max-input or --max-target, cut it (cut) or leave it out (skip)."
    )


@self_documented
@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What is measured during training.

    Attributes:
      {options}
    """

    tasks: tuple[str, ...] = described(
        (),
        "Measure the accuracy on this task during the training; repeat the option for more.",
        option="--eval",
        unit="TASK",
    )
    every: int = described(
        500, "The number of steps between two measurements.", option="--eval-every", unit="STEPS", least=1
    )
    size: int | None = described(
        200,
        "The largest number of examples of each task to measure on.",
        automatic="all examples",
        option="--eval-size",
        unit="EXAMPLES",
        least=1,
    )


@self_documented
@dataclass(frozen=True, kw_only=True)
class CheckpointPolicy:
    """What is saved during training.

    Attributes:
      {options}
      best: whether to also keep the checkpoint with the highest mean accuracy.
    """

    every: int | None = described(
        None,
        "The number of steps between two checkpoints.",
        automatic="1000, or a tenth of a shorter run",
        option="--save-every",
        unit="STEPS",
        least=1,
    )
    last: int = described(
        2,
        "The number of newest checkpoints to keep, in addition to the best one.",
        option="--keep",
        unit="CHECKPOINTS",
        least=1,
    )
    log: int = described(
        20, "The number of steps between two lines of metrics.", option="--log-every", unit="STEPS", least=1
    )
    best: bool = True

    def interval(self, steps: int, say: Callable[[str], None] = print) -> int:
        """Returns the number of steps between the checkpoints of a run of `steps` steps; the last step is always
        saved."""
        if self.every is None:
            return min(1000, -(-steps // 10))
        if self.every > steps:
            say(f"--save-every {self.every}: the run has {steps} steps, and is saved at its end only")
        return min(self.every, steps)


@self_documented
@dataclass(frozen=True, kw_only=True)
class Devices:
    """Where training runs.

    Attributes:
      {options}

    Raises:
      ValueError: some, but not all, of coordinator, processes and process are given.
    """

    model_parallel: int = described(
        1,
        "The number of devices over which each layer is split; batches are split over the others.",
        unit="DEVICES",
        least=1,
    )
    distributed: bool = described(
        False, "Run as one process of many on a cluster whose hosts jax finds by itself (a TPU pod, Slurm)."
    )
    coordinator: str | None = described(
        None, "Run as one process of many, with process 0 at this address.", unit="HOST:PORT"
    )
    processes: int | None = described(None, "The number of processes, for --coordinator.", unit="N", least=1)
    process: int | None = described(
        None, "The number of this process, counted from 0, for --coordinator.", unit="K", least=0
    )

    def __post_init__(self) -> None:
        if (self.coordinator, self.processes, self.process).count(None) not in (0, 3):
            raise ValueError("--coordinator, --processes and --process go together")
