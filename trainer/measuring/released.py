"""Other benchmarks of judges, read from the files that their authors release: RewardBench 2 (Malik et al., 2025),
JudgeBench (Tan et al., 2024) and RM-Bench (Liu et al., 2024)."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flame_rank.errors import UserError
from flame_rank.records import Problem
from strategies.base import IntArray
from trainer.collection.release_files import BadRecord, Folder

TIES = "Ties"
STYLES = 3  # of RM-Bench: concise, detailed, detailed in Markdown


@dataclass(frozen=True, kw_only=True)
class Item:
    """A prompt with right and wrong responses.

    Attributes:
      part: the part of the benchmark.
      name: a name that is unique in the benchmark.
      problem: the responses, the right ones first.
      right: the number of right responses.
    """

    part: str
    name: str
    problem: Problem
    right: int

    @property
    def pairs(self) -> IntArray:
        """[M, 2] the comparisons that are asked: each right response with each wrong one, row by row; for RewardBench
        2's ties, then also the right ones with one another."""
        n = len(self.problem)
        pairs = [(i, j) for i in range(self.right) for j in range(self.right, n)]
        if self.part == TIES:
            pairs += [(i, j) for i in range(self.right) for j in range(i + 1, self.right)]
        return np.array(pairs, np.int64)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A released benchmark.

    Attributes:
      folder: its name under --data.
      files: groups of patterns of its files; the first group whose files exist is read.
      origin: where it is published.
      parts: the names of its parts, in the order of the card.
      item: makes an item from a record.
    """

    folder: str
    files: Sequence[Sequence[str]]
    origin: str
    parts: Sequence[str]
    item: Callable[[Any], Item]

    def read(self, data: Path) -> list[Item]:
        """Reads the items.

        Raises:
          UserError: the files are not under `data`, or one of them does not have the released form.
        """
        folder, patterns = self._files(data)
        items: dict[str, Item] = {}
        for pattern in patterns:
            for where, record in _rows(folder, pattern):
                try:
                    if isinstance(record, BadRecord):
                        raise record
                    item = self.item(record)
                    if item.part not in self.parts:
                        raise ValueError(f"{item.part!r} is none of {', '.join(self.parts)}")
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    why = f"no field {error}" if isinstance(error, KeyError) else str(error)
                    raise UserError(f"{where}: {why}; check that this is the release of {self.origin}") from error
                if item.name in items:
                    raise UserError(f"{where}: {item.name} occurs twice")
                items[item.name] = item
        if not items:
            raise UserError(f"{folder.path}: its files hold no record; fetch them again")
        return [*items.values()]

    def _files(self, data: Path) -> tuple[Folder, Sequence[str]]:
        places = [data / part / self.folder / inner for part in ("", "eval") for inner in ("", "data")]
        for folder in map(Folder, places):
            for patterns in self.files:
                if all(map(folder.has, patterns)):
                    return folder, patterns
        raise UserError(f"{places[0] / self.files[0][0]}: no such file; copy the files of {self.origin} there")


def first_of_each(items: Sequence[Item], limit: int | None) -> list[Item]:
    """Takes items of each part, up to `limit` of them, in the order of the hashes of their names: the same ones in
    every run. Of the two prompts that RewardBench 2's ties have for each number, both are taken, or neither."""
    if limit is None:
        return [*items]
    taken: list[Item] = []
    for part in dict.fromkeys(item.part for item in items):
        groups = defaultdict(list)
        for item in items:
            if item.part == part:
                groups[item.name.rpartition(":")[2] if part == TIES else item.name].append(item)
        chosen = sorted(groups, key=lambda name: hashlib.sha256(name.encode()).digest())[:limit]
        taken += [item for name in chosen for item in groups[name]]
    return taken


def _rows(folder: Folder, pattern: str) -> Iterator[tuple[str, Any]]:
    read = {".parquet": folder.parquet, ".jsonl": folder.jsonl}.get(Path(pattern).suffix, folder.records)
    yield from read(pattern)


def _problem(prompt: Any, right: Any, wrong: Any) -> tuple[Problem, int]:
    texts = [*right, *wrong]
    if not right or not wrong or not all(isinstance(text, str) for text in (prompt, *texts)):
        raise ValueError("not a prompt with right and wrong responses, all of them texts")
    return Problem(prompt=prompt, candidates=texts), len(right)


def _rewardbench2(record: Any) -> Item:
    problem, right = _problem(record["prompt"], list(record["chosen"]), list(record["rejected"]))
    part = record["subset"]
    if right != record["num_correct"] or (part != TIES and right != 1):
        raise ValueError(f"{right} responses are chosen, but num_correct is {record['num_correct']}")
    # Numbers begin anew in each subset.
    return Item(part=part, name=f"{part}/{record['id']}", problem=problem, right=right)


_SOURCES = {
    "mmlu-pro": "Knowledge",
    "livebench-reasoning": "Reasoning",
    "livebench-math": "Math",
    "livecodebench": "Coding",
}


def _judgebench(record: Any) -> Item:
    label, responses = record["label"], [record["response_A"], record["response_B"]]
    if label not in ("A>B", "B>A"):
        raise ValueError(f"label is {label!r}")
    better, worse = responses if label == "A>B" else responses[::-1]
    problem, right = _problem(record["question"], [better], [worse])
    part = next((part for source, part in _SOURCES.items() if record["source"].startswith(source)), record["source"])
    return Item(part=part, name=record["pair_id"], problem=problem, right=right)


def _rm_bench(record: Any) -> Item:
    problem, right = _problem(record["prompt"], record["chosen"], record["rejected"])
    if (right, len(problem)) != (STYLES, 2 * STYLES):
        raise ValueError(f"{right} responses are chosen of {len(problem)}, not {STYLES} of {2 * STYLES}")
    return Item(part=record["domain"], name=f"{record['domain']}/{record['id']}", problem=problem, right=right)


_DOMAINS = ("chat", "code", "math", "safety-refuse", "safety-response")
BENCHMARKS: Mapping[str, Benchmark] = {
    "rewardbench2": Benchmark(
        folder="rewardbench2",
        files=(("test-*.parquet",), ("*.jsonl",)),
        origin="hf:allenai/reward-bench-2",
        parts=("Factuality", "Precise IF", "Math", "Safety", "Focus", TIES),
        item=_rewardbench2,
    ),
    "judgebench": Benchmark(
        folder="judgebench",
        files=(("*.jsonl",), ("*.parquet",)),
        origin="github:ScalerLab/JudgeBench",
        parts=tuple(_SOURCES.values()),
        item=_judgebench,
    ),
    "rm-bench": Benchmark(
        folder="rm-bench",
        files=(("total_dataset.json",), tuple(f"{domain}_filtered.json" for domain in _DOMAINS)),
        origin="github:THU-KEG/RM-Bench",
        parts=_DOMAINS,
        item=_rm_bench,
    ),
}
