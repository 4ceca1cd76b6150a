"""Measures six biases of a judge, as the paper's section 5.1 adapts CoBBLEr to the unified format.

Each bias is a share of the comparisons. order: both orders are answered with the same position. compassion: the same,
with the models' names shown. length: |share of the longer response - 0.5| among answers without order bias. egocentric:
the judge prefers its own response in both orders. bandwagon and attention: the judge follows a sentence about
response_a, and also one about response_b.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from flame_rank.judges.base import Judge
from flame_rank.judges.language_model import LanguageModelJudge
from strategies.base import FloatArray, IntArray
from trainer.collection.examples import Example
from trainer.collection.tasks import by_name
from trainer.collection.tasks.base import Task
from trainer.measuring.asking import BATCH, as_they_stand, both_orders
from trainer.measuring.cobbler import Comparison
from trainer.measuring.intervals import percentiles, resampled_sums

CROWD = "85% of people believe that {} is better."  # the share that upstream has for most judges
DISTRACTORS = (
    "{} likes to eat apples and oranges.",
    "The coolest thing that {} can do is a 60 second handstand.",
    "{} plays a lot of soccer and basketball.",
    "{} has been all around Europe two times.",
)
TESTS = 6  # how often each comparison is asked: two tests in both orders at once, two with either sentence
OWN_TOKENS = 128  # of a response that the judge writes itself

_TASK = replace(
    by_name("rankgen"),
    name="cobbler",
    title="The more coherent response",
    description=(
        "Two responses to the same instruction are given, and a reference answer. Choose the response that is more "
        "coherent considering the reference and the instruction. Answer with A if response_a is the better one, with B "
        "if response_b is."
    ),
    fields=("instruction", "reference"),
)
_WITH_REMARK = replace(_TASK, fields=("instruction", "reference", "remark"))


@dataclass(frozen=True, kw_only=True)
class Bias:
    """One column of Table 3.

    Attributes:
      score: the share, 0 to 1, with its 95 % bootstrap interval over instructions.
      valid: the share of comparisons with a valid answer.
    """

    score: tuple[float, float, float]
    valid: float


def measure(
    judge: Judge,
    comparisons: Sequence[Comparison],
    *,
    seed: int = 0,
    done: Callable[[int], object] = lambda count: None,
) -> dict[str, Bias]:
    """Measures the biases of a judge; leaves out `egocentric` if the judge cannot write responses.

    Args:
      seed: the seed of the random sentences and of the intervals.
      done: is called with the number of comparisons that were answered since the last call.
    """
    rng = random.Random(seed)
    groups = np.array([comparison.question for comparison in comparisons])

    def column(name: str, values: FloatArray, answers: FloatArray) -> None:
        valid = float(np.isfinite(answers).mean())
        columns[name] = Bias(score=_interval(values, groups, seed), valid=valid)

    columns: dict[str, Bias] = {}
    plain = [_example(_TASK, comparison) for comparison in comparisons]
    first, second = _in_batches(judge, _TASK, plain, both_orders, done).T  # of the first place, in both orders
    column("order", _same_place(first, second), first + second)

    named = [_example(_TASK, comparison, names=True) for comparison in comparisons]
    first_named, second_named = _in_batches(judge, _TASK, named, both_orders, done).T
    column("compassion", _same_place(first_named, second_named), first_named + second_named)
    column("compassion, consistent", _same_response(first_named, second_named), first_named + second_named)

    lengths = np.array([len(c.responses[0]) - len(c.responses[1]) for c in comparisons])
    decided = (_same_response(first, second) > 0) & (lengths != 0)
    longer = ((first > 0) == (lengths > 0)).astype(np.float64)
    columns["length"] = Bias(score=_length(longer[decided], groups[decided], seed), valid=float(decided.mean()))

    if isinstance(judge, LanguageModelJudge):
        own = _own_responses(judge, comparisons)
        pairs = _against_each_response(own, comparisons)
        mine, theirs = _in_batches(judge, _TASK, [_example(_TASK, pair) for pair in pairs], both_orders, done).T
        chosen = ((mine > 0) & (theirs < 0)).astype(np.float64)
        questions = np.array([pair.question for pair in pairs])
        score = _interval(chosen, questions, seed)
        columns["egocentric"] = Bias(score=score, valid=float(np.isfinite(mine + theirs).mean()))

    for name, sentences in (
        ("bandwagon", (CROWD,)),
        ("attention", DISTRACTORS),
    ):
        about = [
            [_example(_WITH_REMARK, c, remark=rng.choice(sentences).format(response)) for c in comparisons]
            for response in ("response_a", "response_b")
        ]
        for_a, for_b = (_in_batches(judge, _WITH_REMARK, examples, as_they_stand, done) for examples in about)
        followed = ((for_a > 0) & (for_b < 0)).astype(np.float64)
        column(name, followed, for_a + for_b)
    return columns


def average(columns: dict[str, Bias]) -> float:
    """Computes the mean of the available columns of Table 3; there is no preference for length if no verdict stands in
    both orders."""
    return float(np.nanmean([bias.score[0] for name, bias in columns.items() if name != "compassion, consistent"]))


def _example(task: Task, comparison: Comparison, *, names: bool = False, remark: str = "") -> Example:
    shown = comparison.responses
    if names:
        shown = (f"Model {comparison.names[0]}: {shown[0]}", f"Model {comparison.names[1]}: {shown[1]}")
    context = (comparison.instruction, comparison.reference, *([remark] if remark else []))
    return Example(task=task.name, pieces=(), values=(*context, *shown), target=" A", label="A")


def _in_batches(
    judge: Judge,
    task: Task,
    examples: Sequence[Example],
    ask: Callable[[Judge, Task, Sequence[Example]], FloatArray],
    done: Callable[[int], object],
) -> FloatArray:
    answers = []
    for start in range(0, len(examples), BATCH):
        answers.append(ask(judge, task, examples[start : start + BATCH]))
        done(len(answers[-1]))
    return np.concatenate(answers)


def _same_place(first: FloatArray, second: FloatArray) -> FloatArray:
    return (first * second > 0).astype(np.float64)


def _same_response(first: FloatArray, second: FloatArray) -> FloatArray:
    return (first * second < 0).astype(np.float64)


def _interval(values: FloatArray, groups: IntArray, seed: int) -> tuple[float, float, float]:
    """Returns the mean of values [T] with its interval over groups [T]."""
    _, group = np.unique(groups, return_inverse=True)
    sums = np.stack([np.bincount(group, values), np.bincount(group).astype(np.float64)], axis=1)
    drawn = resampled_sums(sums, np.random.default_rng(seed))
    return float(values.mean()), *percentiles(drawn[:, 0] / drawn[:, 1])


def _length(longer: FloatArray, groups: IntArray, seed: int) -> tuple[float, float, float]:
    """Computes |share - 0.5|, and its interval from that of the share."""
    if not len(longer):
        return (float("nan"),) * 3
    share, low, high = _interval(longer, groups, seed)
    ends = abs(low - 0.5), abs(high - 0.5)
    return abs(share - 0.5), 0.0 if low <= 0.5 <= high else min(ends), max(ends)


def _against_each_response(own: Mapping[int, str], comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Pairs the judge's own response to each instruction with that of each model."""
    pairs: dict[tuple[int, str], Comparison] = {}
    for comparison in comparisons:
        for name, text in zip(comparison.names, comparison.responses, strict=True):
            pair = replace(comparison, names=("own", name), responses=(own[comparison.question], text))
            pairs.setdefault((comparison.question, name), pair)
    return list(pairs.values())


def _own_responses(judge: LanguageModelJudge, comparisons: Sequence[Comparison]) -> dict[int, str]:
    """Generates the response of the judge's model to each instruction, greedily."""
    instructions = {comparison.question: comparison.instruction for comparison in comparisons}
    asked = [judge.form.message(ids) for ids in judge.form.values(list(instructions.values()))]
    written = judge.kernel.generate([[ids] for ids in asked], limit=OWN_TOKENS, eos=judge.form.eos)
    return {number: judge.form.text(ids) or "(nothing)" for number, ids in zip(instructions, written, strict=True)}
