"""The formats of other tools: each has its own field names and is recognised by them, or named by `--from`."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flame_rank.io.formats.base import Format

# The values of --from. "jsonl" is this library's own format; "vllm" is another name of "openai-batch".
NAMES = ("jsonl", "openai-batch", "vllm", "lm-eval", "trl", "rewardbench2", "verl", "distilabel")


def all_formats(requests: str | Path | None = None) -> "tuple[Format, ...]":
    """Returns every format except this library's own, in the order in which they are tried.

    Args:
      requests: the file of the requests that the output of a batch answers.
    """
    from flame_rank.io.formats.lm_eval import LmEval
    from flame_rank.io.formats.openai_batch import OpenAIBatch
    from flame_rank.io.formats.preferences import RewardBench2, Trl
    from flame_rank.io.formats.rollouts import Distilabel, Verl

    return OpenAIBatch(requests), LmEval(), RewardBench2(), Trl(), Verl(), Distilabel()


def by_name(name: str, formats: "tuple[Format, ...]") -> "Format":
    """Returns the format with a name.

    Raises:
      ValueError: no format has this name.
    """
    wanted = "openai-batch" if name == "vllm" else name
    for known in formats:
        if known.name == wanted:
            return known
    raise ValueError(f"no format is called {name!r}; it must be one of {', '.join(NAMES)}")
