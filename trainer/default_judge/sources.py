"""Reads the collection's tasks as comparisons of two answers to one prompt, from which the default judge learns.

A pairwise task has comparisons already. If annotators rated or classified single answers, two answers to one prompt
make a comparison if their labels differ enough.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from trainer.collection.decontamination import NgramIndex
from trainer.collection.examples import Example, examples
from trainer.collection.tasks import by_name
from trainer.collection.tasks.base import RESPONSES

EACH = 120  # the largest number of comparisons of one prompt: all pairs of sixteen answers

# The worth of an answer with a label that is not a number; an answer with a label that is not here has none.
WORTH: Mapping[str, float] = {
    **{"yes": 1, "no": 0, "correct": 1, "incorrect": 0, "consistent": 2, "inconsistent": 0},
    **{"entailment": 2, "neutral": 1, "contradiction": 0},
    **{"supports": 2, "not enough info": 1, "refutes": 0},
    **{"partial hallucination": 1, "hallucination": 0},
}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two answers to one prompt, of which annotators preferred one."""

    prompt: str
    better: str
    worse: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """A group of tasks of the collection that the judge learns from as one.

    Attributes:
      tasks: their names, all with a permissive licence. If several tasks rate one answer, their mean counts.
      ask: the prompt as a user would write it, with the numbers of the context's fields as placeholders; the last field
        is the answer.
      margin: the least difference between the labels of two answers that makes a comparison.
      free: whether answers are whole replies in prose, so that a corrupted reply is worse
        (trainer/default_judge/corruptions.py).
      right: whether the better answers are right and the others wrong, so that a pick out of many can be right.
    """

    tasks: tuple[str, ...]
    ask: str = "{0}"
    margin: float = 1.0
    free: bool = False
    right: bool = False


_SUMMEVAL = tuple(f"summeval-{axis}" for axis in ("coherence", "consistency", "fluency", "relevance"))

SOURCES: Mapping[str, Source] = {
    "pandalm": Source(tasks=("pandalm",), ask="{0}\n{1}", free=True),
    "prd-vicuna": Source(tasks=("prd-vicuna",), free=True),
    "fine-grained-rlhf": Source(tasks=("fine-grained-rlhf",), ask="{0}\n\n{1}", free=True),
    "hh-harmless": Source(tasks=("hh-harmless",), free=True),
    "gsm8k": Source(tasks=("gsm8k-solutions",), free=True, right=True),
    "prm800k": Source(tasks=("prm800k-solutions", "prm800k-steps"), ask="{0}\n\n{1}", right=True),
    "summeval": Source(tasks=_SUMMEVAL, ask="Summarize:\n{0}", margin=0.5),
    "summary-facts": Source(tasks=("summac-polytope", "summedits"), ask="Summarize:\n{0}"),
    "lens": Source(tasks=("lens-overall",), ask="Simplify:\n{0}", margin=2),
    "lens-aspects": Source(tasks=("lens-adequacy", "lens-fluency", "lens-simplicity"), ask="Simplify:\n{0}"),
    "dialogue": Source(tasks=("topical-chat-overall", "persona-chat-overall"), ask="{0}\n\n{1}", free=True),
    "dialogue-facts": Source(tasks=("q2", "faithdial-audit", "dialfact"), ask="{1}\n\n{0}"),
    "data-to-text": Source(
        tasks=("sfres-informativeness", "sfres-naturalness", "sfhot-informativeness", "sfhot-naturalness"),
        ask="Say this in words:\n{0}",
    ),
    "inference": Source(tasks=("esnli", "mnli"), ask="{0}\n\nWhat follows from this?"),
    "biographies": Source(tasks=("wikibio-hallucination",), ask="Tell of this person's life:\n{0}"),
}
# Several models' solutions of each problem, from which votes are learned. Where all models are wrong, gsm8k-solutions
# has a person's as well, whose answer has one vote.
VOTING = Source(tasks=("gsm8k-correct",), right=True)


def read_comparisons(source: Source, data: Path) -> list[Comparison]:
    """Reads the comparisons of a source from the data sets under `data`.

    Raises:
      UserError: a data set is missing or does not have the released form.
    """
    comparisons: list[Comparison] = []
    rated: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for task in map(by_name, source.tasks):
        for example in examples(task, data):
            if task.kind == "pairwise":
                comparisons.append(_comparison(source, example))
            elif (worth := _worth(example.label)) is not None:
                *context, answer = example.values
                rated[source.ask.format(*context).strip()][answer].append(worth)
    for prompt, answers in rated.items():
        means = [(sum(worths) / len(worths), answer) for answer, worths in answers.items() if answer.strip()]
        pairs = _better_and_worse(means, source.margin)
        comparisons += _sample([Comparison(prompt=prompt, better=b, worse=w) for b, w in pairs], prompt)
    return comparisons


def comparisons_without_overlap(comparisons: Iterable[Comparison], held_out: NgramIndex) -> list[Comparison]:
    """Leaves out the comparisons that share an n-gram with a held-out text."""
    return [c for c in comparisons if not held_out.overlaps(c.prompt, c.better, c.worse)]


def _comparison(source: Source, example: Example) -> Comparison:
    *context, first, second = example.values
    # A task with one field fewer than the source's prompt has leaves the last field empty.
    prompt = source.ask.format(*context, *[""] * len(RESPONSES)).strip()
    better, worse = (first, second) if example.label == "A" else (second, first)
    return Comparison(prompt=prompt, better=better, worse=worse)


def _worth(label: str) -> float | None:
    return WORTH.get(label, float(label) if label.isdecimal() else None)


def _better_and_worse(rated: Sequence[tuple[float, str]], margin: float) -> Iterator[tuple[str, str]]:
    for (a, first), (b, second) in combinations(rated, 2):
        if abs(a - b) >= margin:
            yield (first, second) if a > b else (second, first)


def _sample(comparisons: list[Comparison], prompt: str) -> list[Comparison]:
    if len(comparisons) <= EACH:
        return comparisons
    return random.Random(prompt).sample(comparisons, EACH)
