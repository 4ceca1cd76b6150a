"""The numbers of a training run; the defaults are the paper's (section 3.5). Imports nothing heavy, because the
commands' help is made from it."""

from dataclasses import dataclass, fields
from typing import Literal

from flame_rank.fields import check_values, described, self_documented

DROPOUT = 0.05  # section 3.5
STEPS = {"flame": 60_000, "flame-rm": 3_000}  # section 3.5


@self_documented
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The numbers of a training run; a number that is None is chosen by `resolve`.

    Attributes:
      {options}

    Raises:
      ValueError: a number is out of its range, or the batch cannot be divided into these parts.
    """

    steps: int | None = described(
        None,
        "The number of steps of the optimiser.",
        automatic="the paper's: 60000, or 3000 for flame-rm",
        unit="STEPS",
        least=1,
    )
    batch: int = described(8, "The number of examples in one step.", unit="EXAMPLES", least=1)
    rate: float = described(1e-4, "The peak learning rate of Adam.", unit="RATE", above=0)
    schedule: Literal["constant", "cosine", "linear"] = described(
        "constant",
        "What the learning rate does after the warm-up: stay constant, or fall to 0 along a cosine or a line.",
    )
    warmup: int = described(
        0, "The number of steps at the start in which the learning rate rises from 0.", unit="STEPS", least=0
    )
    dropout: float | None = described(
        None,
        "The share of every sublayer's output that is set to zero at random. Most decoders were trained without "
        "dropout and become worse with it.",
        automatic="the paper's 0.05 for T5, 0 for a decoder",
        unit="SHARE",
        least=0,
        below=1,
    )
    max_input: int = described(
        2048, "The length of the longest input; a longer one is cut or left out.", unit="TOKENS", least=64
    )
    max_target: int = described(
        1024, "The length of the longest target; a longer one is cut or left out.", unit="TOKENS", least=1
    )
    accumulate: int | None = described(
        None,
        "The number of parts in which a batch is computed, one after the other; the result is the same.",
        automatic="the fewest whose parts fit in memory or, with --lora on a CPU, in the CPU's cache",
        unit="PARTS",
        least=1,
    )
    clip: float | None = described(
        None,
        "If the norm of the gradients is larger than this, scale them down to it.",
        automatic="no limit",
        unit="NORM",
        above=0,
    )
    lora: int = described(
        0, "Train low-rank adapters (LoRA) of this rank; 0 trains all parameters.", unit="RANK", least=0
    )
    freeze: int = described(
        0,
        "Do not train the embeddings and this many of the lowest layers of a decoder: less computation and memory; 0 "
        "trains all layers.",
        unit="LAYERS",
        least=0,
    )
    dtype: Literal["float32", "bfloat16"] | None = described(
        None,
        "The number format of the computation; parameters and the optimiser's state are float32.",
        automatic="float32 on a CPU, bfloat16 elsewhere",
    )
    share: int = described(
        1,
        "Read the common beginning of this many examples of a task, such as the task's instructions, once. The "
        "gradients are the same; a batch has examples of fewer tasks. For decoders.",
        unit="EXAMPLES",
        least=1,
    )
    by_length: bool = described(
        False, "Fill batches with examples of similar length: less padding, but tasks are mixed less within a batch."
    )
    recompute: bool = described(
        False,
        "Compute layers again for their gradients instead of keeping them: less memory, more computation. It has "
        "no effect on a CPU.",
    )
    seed: int = described(0, "Seed of the order of examples, of dropout and of new adapters.", unit="SEED", least=0)

    def __post_init__(self) -> None:
        check_values(self)
        if self.batch % self.share:
            raise ValueError(f"a batch of {self.batch} does not divide into groups of {self.share} examples")
        if self.accumulate and self.batch // self.share % self.accumulate:
            raise ValueError(
                f"a batch of {self.batch // self.share} does not divide into {self.accumulate} equal parts"
            )

    def resolve(self, *, decoder: bool, platform: str) -> "ResolvedRecipe":
        """Chooses the numbers that are None.

        Args:
          decoder: whether the model is a decoder instead of a T5.
          platform: the platform of the devices, by jax's name: cpu, gpu or tpu.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.steps is None:
            values["steps"] = STEPS["flame"]
        if self.dropout is None:
            values["dropout"] = 0.0 if decoder else DROPOUT
        if self.dtype is None:
            values["dtype"] = "float32" if platform == "cpu" else "bfloat16"
        return ResolvedRecipe(**values)


@dataclass(frozen=True, kw_only=True)
class ResolvedRecipe(Recipe):
    """A recipe in which every number is chosen, as recipe.json has it."""

    steps: int
    dropout: float
    dtype: Literal["float32", "bfloat16"]
