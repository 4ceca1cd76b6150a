"""What a task is: where its human judgements come from, what its annotators were asked, and how a record of the
upstream release becomes examples (the paper's sections 3.1 to 3.3)."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal, TypeAlias

from flame_rank.prompts.instructions import VERDICTS, Instructions
from trainer.collection.release_files import Folder, Row

Split: TypeAlias = Literal["train", "eval", "extra"]
Capability: TypeAlias = Literal[
    "general text quality", "attribution", "mathematical reasoning", "coding", "safety", "instruction tuning"
]
Kind: TypeAlias = Literal["pairwise", "pointwise", "classification", "generative"]

TIE = "tie"  # the third label of a pairwise task that keeps its ties
RESPONSES = ("response_a", "response_b")  # the last two fields of a pairwise task's context


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two responses and which of them the annotators held to be the better one.

    Which one becomes response_a is not decided here: trainer/collection/examples.py does it for all tasks alike.

    Attributes:
      context: the values of the task's fields, in their order.
      words: an explanation that does not say which response stood first; for tasks with that output field.
      tie: neither is better; `better` and `worse` are then the two in the release's order.
      votes: of the annotators for `better` and for `worse`; (1, 0) if the release gives only their verdict.
    """

    context: tuple[str, ...]
    better: str
    worse: str
    words: str = ""
    tie: bool = False
    votes: tuple[int, int] = (1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the annotators said of one text.

    Attributes:
      context: the values of the task's fields, in their order.
      values: of the output fields, in their order; the first one is a label where the task has labels.
    """

    context: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Release:
    """One form in which a data set is to be had.

    Attributes:
      files: patterns relative to the data set's folder; a `.gz` behind a name counts as the name. Where each of them
        matches a file, the form is there.
      read: the records, each with the place it stands in; what joins several files does it here.
      note: what this form is, where it is not the official release.
    """

    files: tuple[str, ...]
    read: Callable[[Folder], Iterator[Row]]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Where human judgements come from.

    Attributes:
      folder: under --data.
      origin: who publishes it: a Hugging Face data set ("hf:owner/name"), a repository ("github:owner/name") or a page.
      licence: as its authors state it; "none stated" where they do not.
      permissive: commercial use and redistribution are allowed (share-alike and attribution included).
      releases: forms that are read, the official one first; the first that is there counts.
      downloads: address -> file under the folder, of the official release. "hf://datasets/owner/name/path" and
        "https://..." are understood; with a * in the address, the file is a folder, and ends in "/".
      sha256: of files, where upstream states it.
    """

    folder: str
    origin: str
    licence: str
    permissive: bool
    releases: tuple[Release, ...]
    downloads: Mapping[str, str] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task of the collection.

    Attributes:
      name: unique, lower case with hyphens.
      fields: the names of the context's fields; a pairwise task's two responses stand behind them.
      title, description: what goes under INSTRUCTIONS: the task's definition and how to judge, written from what the
        annotators were asked.
      labels: what the first output field may hold; empty for a generative task. TIE among them keeps ties, which are
        left out otherwise.
      convert: a pure function from a record to its examples; none where the annotators do not say. A KeyError,
        TypeError, ValueError, IndexError or AttributeError says that the record is not as upstream has them.
      full: examples in the full release, where that is known.
    """

    name: str
    split: Split
    capability: Capability
    kind: Kind
    data: DataSet
    title: str
    description: str
    fields: tuple[str, ...]
    convert: Callable[[Any], Iterable[Pair | Answer]]
    labels: tuple[str, ...] = VERDICTS
    output_fields: tuple[str, ...] = ("choice",)
    full: int | None = None

    @property
    def instructions(self) -> Instructions:
        """The first block of the unified format."""
        return Instructions(title=self.title, description=self.description, output_fields=self.output_fields)

    @property
    def context(self) -> tuple[str, ...]:
        """The names of all fields under CONTEXT."""
        return (*self.fields, *RESPONSES) if self.kind == "pairwise" else self.fields


def majority(votes: Iterable[str | int]) -> Any:
    """The vote that more than half of the annotators cast; None where there is none."""
    cast = list(votes)
    most = max(cast, key=cast.count, default=None)
    return most if most is not None and 2 * cast.count(most) > len(cast) else None


def rounded_mean(ratings: Iterable[float]) -> str:
    """Rounds the mean of the annotators' ratings to a whole number; a mean halfway between two goes up.

    Python's own rounding takes halves to the even number, which makes odd labels rarer than annotators meant.

    Raises:
      ValueError: there is not a rating.
    """
    return str(math.floor(fmean(ratings) + 0.5))
