"""What samplers write: each tool's lines by its own field names, recognised by shape or named (`--from`)."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flame_rank.io.formats.base import Format

# The names of --from; "jsonl" is this library's own, "vllm" another name of the batch's.
NAMES = ("jsonl", "openai-batch", "vllm", "lm-eval", "trl", "rewardbench2", "verl", "distilabel")


def all_formats(requests: str | Path | None = None) -> "tuple[Format, ...]":
    """Every format but this library's own, in the order in which they are tried.

    Args:
      requests: the file of requests, for the output of a batch.
    """
    from flame_rank.io.formats.lm_eval import LmEval
    from flame_rank.io.formats.openai_batch import OpenAIBatch
    from flame_rank.io.formats.preferences import RewardBench2, Trl
    from flame_rank.io.formats.rollouts import Distilabel, Verl

    return OpenAIBatch(requests), LmEval(), RewardBench2(), Trl(), Verl(), Distilabel()


def by_name(name: str, formats: "tuple[Format, ...]") -> "Format":
    """The format of a name.

    Raises:
      ValueError: no format has it.
    """
    wanted = "openai-batch" if name == "vllm" else name
    for known in formats:
        if known.name == wanted:
            return known
    raise ValueError(f"no format is called {name!r}; it is one of {', '.join(NAMES)}")
