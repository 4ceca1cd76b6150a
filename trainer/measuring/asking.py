"""Has a judge answer the examples of a task.

A language model is asked in the task's own title, description and fields, and answers by the likelihood of the task's
labels; a judge that only compares gets the pair of a pairwise task as a problem. Both see every pair in both orders.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby, takewhile

import msgspec
import numpy as np

from flame_rank.judges.base import Judge
from flame_rank.judges.language_model import LanguageModelJudge
from flame_rank.judges.separate import SeparateJudge
from flame_rank.prompts.format import Ids
from flame_rank.records import Problem
from strategies.base import FloatArray
from trainer.collection.examples import Example, in_both_orders
from trainer.collection.tasks.base import Task
from trainer.finetune.tokenized_rows import Encoded, encode

BATCH = 32  # examples that a judge is given at once
_ORDERS = np.array([[0, 1], [1, 0]])


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A judge's answer to one example.

    Attributes:
      task: the task's name.
      example: the example's identity within its task.
      p: [C] the probability of each of the task's labels; for a pair those of A and B, from both orders; empty if the
        judge gave no valid answer.
      mass: the probability that the model gives to all labels together, for a pair the lower of the two orders' values;
        None if it is not known.
      flipped: for a pair, whether the judge prefers the same position in both orders.
    """

    task: str
    example: str
    p: tuple[float, ...]
    mass: float | None = None
    flipped: bool | None = None


def identity(example: Example) -> str:
    """Returns twelve hexadecimal digits of a hash of an example's texts."""
    return hashlib.sha256("\0".join(example.values).encode(errors="replace")).hexdigest()[:12]


def can_answer(judge: Judge, task: Task) -> bool:
    """Tells whether a judge can be asked a task: a language model can answer all tasks with labels, another judge
    only pairs."""
    return bool(task.labels) and (task.kind == "pairwise" or isinstance(judge, LanguageModelJudge))


def ask(judge: Judge, task: Task, examples: Sequence[Example]) -> Iterator[Answer]:
    """Yields the judge's answers, in the order of the examples.

    Raises:
      ValueError: the judge cannot be asked this task.
    """
    if not can_answer(judge, task):
        raise ValueError(f"{judge.name} can only compare two responses, but {task.name} is another kind of task")
    for start in range(0, len(examples), BATCH):
        group = examples[start : start + BATCH]
        if not isinstance(judge, LanguageModelJudge):
            for example, log_odds in zip(group, both_orders(judge, task, group), strict=True):
                yield _pair_answer(task, example, log_odds)
        elif task.kind == "pairwise":
            scores = _likelihoods(judge, task, list(in_both_orders(group, task)))
            for example, orders in zip(group, scores.reshape(len(group), 2, -1), strict=True):
                least = float(np.exp(orders).sum(-1).min())
                mass = least if np.isfinite(least) else None
                yield _pair_answer(task, example, orders[:, 0] - orders[:, 1], mass)
        else:
            for example, labels in zip(group, _likelihoods(judge, task, group), strict=True):
                valid = np.isfinite(labels).any() and not np.isnan(labels).any()
                p = np.exp(labels - np.logaddexp.reduce(labels)).tolist() if valid else []
                mass = float(np.exp(labels).sum()) if valid else None
                yield Answer(task=task.name, example=identity(example), p=tuple(p), mass=mass)


def both_orders(judge: Judge, task: Task, examples: Sequence[Example]) -> FloatArray:
    """Returns the log-odds [R, 2] of the response in the first position: for the examples unchanged, and with their
    responses exchanged; NaN without a valid answer."""
    if isinstance(judge, LanguageModelJudge):
        scores = _likelihoods(judge, task, list(in_both_orders(examples, task)))
        return (scores[:, 0] - scores[:, 1]).reshape(-1, 2)
    return np.array(judge.judge([(_problem(example), _ORDERS) for example in examples])).reshape(-1, 2)


def as_they_stand(judge: Judge, task: Task, examples: Sequence[Example]) -> FloatArray:
    """Returns the log-odds [R] of response_a against response_b, in this order only; NaN without a valid answer."""
    if isinstance(judge, LanguageModelJudge):
        scores = _likelihoods(judge, task, examples)
        return np.asarray(scores[:, 0] - scores[:, 1])
    return np.array(judge.judge([(_problem(example), _ORDERS[:1]) for example in examples])).reshape(-1)


def _problem(example: Example) -> Problem:
    return Problem(prompt="\n\n".join(filter(None, example.values[:-2])), candidates=list(example.values[-2:]))


def _likelihoods(judge: LanguageModelJudge, task: Task, examples: Sequence[Example]) -> FloatArray:
    """Returns the log-likelihood [R, C] of each label after each example; long examples are cut as in training.

    What successive examples have in common is encoded once: a pair in both orders, the claims about one document.
    """
    shared, targets = judge.form.labels(task.instructions, task.labels)
    head = len(judge.form.frame(task.instructions, task.context)[0])
    if isinstance(judge, SeparateJudge) and task.kind == "pairwise":
        room = judge.kernel.max_length  # the cue includes what A and B begin with, and neither of them is read
        apart = encode(judge.form, task, examples, max_input=room, max_target=1, responses="separate", apart=True)
        return _separate(judge, list(apart), head, targets)
    room = judge.kernel.max_length - len(shared) - max(map(len, targets))
    rows = list(encode(judge.form, task, examples, max_input=room, max_target=1))
    alike = -2 if task.kind == "pairwise" else -1  # the fields before the responses, or before what is judged
    groups = groupby(zip(examples, rows, strict=True), key=lambda both: both[0].values[:alike])
    paths = [path for _, group in groups for path in _in_pieces([row.source for _, row in group], head, shared)]
    return judge.kernel.log_likelihoods(paths, targets)


def _separate(judge: SeparateJudge, rows: Sequence[Encoded], head: int, targets: Sequence[Ids]) -> FloatArray:
    """Returns the log-likelihood [R, 2] of A and B for comparisons in the separate form: their log-odds are the
    difference of both responses' scores, and they have the mean of both responses' P(A) + P(B)."""
    ends = [list(accumulate(row.pieces or ())) for row in rows]
    pairs = [
        [(row.source[:head], row.source[head:p], row.source[i:j]) for i, j in ((p, first), (first, second))]
        for row, (p, first, second) in zip(rows, ends, strict=True)
    ]
    paths = {path: k for k, path in enumerate(dict.fromkeys(path for pair in pairs for path in pair))}
    read = judge.kernel.log_likelihoods([*paths], targets)[[[paths[path] for path in pair] for pair in pairs]]
    odds = (read[..., 0] - read[..., 1]) @ np.array([1.0, -1.0])
    mass = np.logaddexp.reduce(read, (1, 2)) - np.log(2)
    return np.stack([mass - np.logaddexp(0, -odds), mass - np.logaddexp(0, odds)], 1)


def _in_pieces(group: Sequence[Ids], head: int, shared: Ids) -> Iterator[list[Ids]]:
    """Splits the ids of inputs after their common prefix, so that it is encoded once."""
    alike = head
    if len(group) > 1:
        alike = sum(1 for _ in takewhile(lambda column: len({*column}) == 1, zip(*group, strict=False)))
        alike = max(min(alike, *(len(ids) - 1 for ids in group)), head)
    for ids in group:
        yield [piece for piece in (ids[:head], ids[head:alike], ids[alike:] + shared) if piece]


def _pair_answer(task: Task, example: Example, orders: FloatArray, mass: float | None = None) -> Answer:
    """Makes an answer of the log-odds [2] of the first position in both orders."""
    first, second = orders.tolist()
    log_odds = (first - second) / 2
    if not np.isfinite(log_odds):
        return Answer(task=task.name, example=identity(example), p=(), mass=mass)
    p_a = float(_sigmoid(np.float64(log_odds)))
    flipped = bool(first * second > 0)
    return Answer(task=task.name, example=identity(example), p=(p_a, 1 - p_a), mass=mass, flipped=flipped)


def _sigmoid(x: np.float64) -> FloatArray:
    return np.asarray(np.exp(-np.logaddexp(0, -x)))
