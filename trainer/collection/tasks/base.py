"""Defines a task: the source of its human judgements, the question to its annotators, and how a record of the
release becomes examples (the paper's sections 3.1 to 3.3)."""

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

TIE = "tie"  # the label of two equally good responses, which are evaluated but never trained on
RESPONSES = ("response_a", "response_b")  # the last two fields of a pairwise task's context


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two responses, of which the annotators preferred one.

    trainer/collection/examples.py decides for all tasks which of them becomes response_a.

    Attributes:
      context: the values of the task's fields, in their order.
      words: an explanation that does not say which response came first; for tasks with that output field.
      tie: whether neither response is better; `better` and `worse` are then the two in the release's order.
      votes: the annotators' votes for `better` and for `worse`; (1, 0) if the release has only their verdict.
    """

    context: tuple[str, ...]
    better: str
    worse: str
    words: str = ""
    tie: bool = False
    votes: tuple[int, int] = (1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The annotators' answer about one text.

    Attributes:
      context: the values of the task's fields, in their order.
      values: the values of the output fields, in their order; the first is a label if the task has labels.
    """

    context: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Release:
    """One form in which a data set is available.

    Attributes:
      files: patterns relative to the data set's folder; a name with `.gz` at the end matches, too. The release is
        available if each pattern matches a file.
      read: yields the records, each with its position in the files; it joins files if a record needs several.
      note: a description of this release, if it is not the official one.
    """

    files: tuple[str, ...]
    read: Callable[[Folder], Iterator[Row]]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """The source of human judgements.

    Attributes:
      folder: its name under --data.
      origin: where it is published: a Hugging Face data set ("hf:owner/name"), a repository ("github:owner/name") or a
        page.
      licence: the licence that its authors state, or "none stated".
      permissive: whether commercial use and redistribution are allowed, perhaps under share-alike or attribution.
      releases: the releases that can be read, the official one first; the first that is available is read.
      downloads: address -> file under the folder, for the official release. An address is
        "hf://datasets/owner/name/path" or "https://..."; if it has a *, the value is a folder and ends in "/".
      sha256: the digests of files that the publisher states.
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
      name: the unique name, in lower case with hyphens.
      fields: the names of the context's fields; the two responses of a pairwise task follow them.
      title, description: the text under INSTRUCTIONS: the task's definition and how to judge, based on the question to
        the annotators.
      labels: the values that the first output field may have; empty for a generative task.
      convert: a pure function from a record to its examples; it yields nothing if the annotators did not answer. A
        KeyError, TypeError, ValueError, IndexError or AttributeError means that the record does not have the released
        form.
      full: the number of examples in the full release, if it is known.
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
    """Returns the vote that more than half of the annotators cast; None if there is no such vote."""
    cast = list(votes)
    most = max(cast, key=cast.count, default=None)
    return most if most is not None and 2 * cast.count(most) > len(cast) else None


def rounded_mean(ratings: Iterable[float]) -> str:
    """Rounds the mean of the annotators' ratings to a whole number; a mean halfway between two goes up.

    Python's own rounding turns halves to even numbers, which would make odd labels too rare.

    Raises:
      ValueError: there are no ratings.
    """
    return str(math.floor(fmean(ratings) + 0.5))
