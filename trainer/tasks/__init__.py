"""Human judgements as comparisons: one function a data set, from the files of its release.

The default judge learns from permissive data only. The list below is all of it that is read today.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from trainer.tasks.base import Comparison
from trainer.tasks.instructions import fine_grained_rlhf, pandalm, prd_vicuna
from trainer.tasks.mathematics import gsm8k
from trainer.tasks.safety import hh_harmless
from trainer.tasks.summaries import summeval

TASKS: dict[str, Callable[[Path], Iterator[Comparison]]] = {
    "pandalm": pandalm,
    "prd-vicuna": prd_vicuna,
    "fine-grained-rlhf": fine_grained_rlhf,
    "hh-harmless": hh_harmless,
    "gsm8k": gsm8k,
    "summeval": summeval,
}

__all__ = ["TASKS", "Comparison"]
