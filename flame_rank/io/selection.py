"""Writes parts of a ranking as JSONL: the best candidate, or pairs of a better and a worse one to train on.

A pair has the fields of TRL's preference format: `prompt`, `chosen` and `rejected`, each a text or a list of messages
as it was read (https://huggingface.co/docs/trl/dataset_formats).
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, TypeAlias

import msgspec

from flame_rank import messages
from flame_rank.io.output import ENCODER, candidate_fields, score_name
from flame_rank.records import Candidate, FlatRecord, GroupedRecord, Problem, Ranking

Which: TypeAlias = Literal["best-worst", "all", "random"]

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def best_line(ranking: Ranking) -> bytes:
    """Encodes the best candidate with its score and P(best) as a line; returns b"" if the problem is undecided.

    A sample of a flat file keeps all its fields. A candidate from a problem's list gets the problem's name and prompt;
    if it is a text, the field `completion` holds it.
    """
    if not ranking.decided:
        return b""
    problem, i = ranking.problem, ranking.order[0]
    record = problem.record
    if isinstance(record, FlatRecord):
        fields: dict[str, Any] = dict(_OBJECT.decode(record.lines[i]))
    else:
        candidate = problem.candidates[i]
        own = candidate_fields(candidate) if isinstance(candidate, Candidate) else {"completion": candidate}
        head = {**_name(problem), "prompt": _prompt(problem)}
        fields = head | {name: value for name, value in own.items() if name not in head}
    score = score_name(fields, again="p_best" in fields)
    return ENCODER.encode(fields | {score: float(ranking.scores[i]), "p_best": float(ranking.p_best[i])}) + b"\n"


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Which pairs of a problem's candidates are written.

    Attributes:
      which: "best-worst" writes the best and the worst candidate, "all" every pair, "random" one random pair.
      margin: the least difference of the two scores in nats, the log-odds that the chosen one is better.
      seed: the seed of the random pair.
    """

    which: Which = "best-worst"
    margin: float = 0.0
    seed: int = 0

    def lines(self, ranking: Ranking) -> bytes:
        """Encodes the pairs as lines, each with both scores.

        A problem without a winner has no pairs. A pair is left out if its scores are equal or differ by less than the
        margin, or if its candidates count as one option: equal texts, or equal final answers if answers vote.
        """
        if not ranking.decided:
            return b""
        problem, scores = ranking.problem, ranking.scores
        common, forms = _forms(problem)
        return b"".join(
            ENCODER.encode(
                common
                | {"chosen": forms[i], "rejected": forms[j]}
                | {"score_chosen": float(scores[i]), "score_rejected": float(scores[j])}
            )
            + b"\n"
            for i, j in self._chosen(ranking)
        )

    def _chosen(self, ranking: Ranking) -> list[tuple[int, int]]:
        order = ranking.order
        if self.which == "best-worst":
            return [pair for pair in [(order[0], order[-1])] if self._apart(ranking, *pair)]
        pairs = [pair for pair in combinations(order, 2) if self._apart(ranking, *pair)]
        if self.which == "all" or not pairs:
            return pairs
        import numpy as np

        # The choice belongs to the problem, not to its place in a file.
        text = "\0".join((ranking.problem.prompt, *ranking.problem.texts))
        return [pairs[np.random.default_rng([self.seed, zlib.crc32(text.encode())]).integers(len(pairs))]]

    def _apart(self, ranking: Ranking, i: int, j: int) -> bool:
        difference = float(ranking.scores[i] - ranking.scores[j])
        return bool(ranking.options[i] != ranking.options[j]) and difference > 0 and difference >= self.margin


def _name(problem: Problem) -> dict[str, Any]:
    """Returns the problem's own name as a field; no field if it is only named by its position in a file."""
    record = problem.record
    if record is None:
        return {"task_id": problem.name} if problem.name else {}
    own = record.group is not None and str(record.group) == problem.name
    return {"task_id": record.group} if own else {}


def _prompt(problem: Problem) -> Any:
    """Returns the prompt as it was read: a text, or a list of messages."""
    given = problem.record.messages if problem.record is not None else None
    return problem.prompt if given is None else _with_roles(given)


def _with_roles(given: Any) -> Any:
    """Returns messages as they were read; ShareGPT's, which TRL does not read, are converted to role and content."""
    decoded = msgspec.json.decode(given) if isinstance(given, msgspec.Raw) else given
    return given if all("role" in message for message in decoded) else messages.normalised(decoded)


def _forms(problem: Problem) -> tuple[dict[str, Any], list[Any]]:
    """Returns the fields that all pairs of a problem share, and the candidates as texts or messages like the prompt."""
    record = problem.record
    originals = record.originals if isinstance(record, GroupedRecord) else None
    if isinstance(record, GroupedRecord) and record.implicit and originals is not None:
        return _name(problem), list(originals)
    common = {**_name(problem), "prompt": _prompt(problem)}
    if record is None or record.messages is None:
        return common, list(problem.texts)
    return common, list(_answers(problem, originals))


def _answers(problem: Problem, originals: tuple[msgspec.Raw, ...] | None) -> Iterator[Any]:
    """Yields the candidates as messages: as they were read, or made from a text."""
    for i, (candidate, text) in enumerate(zip(problem.candidates, problem.texts, strict=True)):
        own = candidate.fields if isinstance(candidate, Candidate) else {}
        if "messages" in own:
            yield _with_roles(own["messages"])
        elif originals is not None and bytes(originals[i])[:1] == b"[" and b'"role"' in bytes(originals[i]):
            yield originals[i]
        else:
            yield [{"role": "assistant", "content": text}]
