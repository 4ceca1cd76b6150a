"""The judge that ships. A candidate's quality, in log-odds, comes from its agreement with the pool, its likelihood
under a small language model, and rules for texts that cannot be right. default/README.md is its model card."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal, Self, TypeAlias, get_args

import msgspec
import numpy as np

from flame_rank import candidates
from flame_rank.candidates import answers
from flame_rank.candidates.code_views import LONGEST, read_candidate
from flame_rank.candidates.equations import OTHERWISE, false_equations
from flame_rank.candidates.limits import breaks_limit
from flame_rank.candidates.refusals import is_refusal
from flame_rank.candidates.repetition import repeated
from flame_rank.candidates.text_rules import faults, is_program
from flame_rank.errors import UserError
from flame_rank.io import json_file
from flame_rank.judges.base import Notes, ProblemMemory
from flame_rank.judges.default.agreement import overlap
from flame_rank.judges.default.arithmetic import contradicts
from flame_rank.judges.default.endings import unfinished
from flame_rank.judges.likelihood import Likelihoods, Part, Reader
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray

SETTINGS = "judge.json"
FEW = 4  # programs that can be right; so few can hardly outvote one another
READ_MOST = 16  # candidates of a problem that the model reads: the best ones by all other evidence
# Nats that a candidate loses by rule if it cannot be right, if it breaks off, and if it breaks a limit that the prompt
# states. They are not learned, because the texts of many data sets are cut off themselves, the better texts as often as
# the worse, and hardly any of their prompts states a limit.
IMPOSSIBLE, UNFINISHED, BREAKS_LIMIT = 100.0, 5.0, 3.0
RULES = (Path(__file__).parent, Path(candidates.__file__).parent)  # where the code is that finds the evidence
# Some surprising words make the mean gain of a few tokens high, and the sum grows with a text's length without bound.
FLAT_TOKENS, MOST_TOTAL = 3, 120.0
DOUBT = 0.02  # the share of a difference that counts between candidates of which none can be right

# The kind of most of a pool's candidates: programs, programs of which few can be right, texts with an answer, texts.
Kind: TypeAlias = Literal["programs", "few programs", "answers", "texts"]
Weights: TypeAlias = Mapping[str, float]  # evidence -> nats per unit of it; evidence without an entry does not count

# Every kind of evidence, and the parts that the model has to read for it.
EVIDENCE: Mapping[str, tuple[Part, ...]] = {
    "overlap": (),  # the mean overlap of a candidate's tokens with those of the pool, 0 to 1
    "vote": (),  # the share of the pool that has the same final answer
    "repeated": (),  # the share of a text's runs of three words that occur earlier in it
    "refuses": (),  # 1 for a text that declines to answer
    "forward": ("forward",),  # this, ending and reverse are fields of Likelihoods
    "gain": ("forward", "alone"),  # the mean over a candidate's tokens and FLAT_TOKENS more that gain nothing
    "total": ("forward", "alone"),  # the gain summed over the tokens, at most MOST_TOTAL either way
    "ending": ("forward",),
    "reverse": ("reverse",),
    "refusal": ("refusal",),  # for a text that declines: how much likelier the prompt makes a refusal
}
AGREEMENT = ("overlap", "vote")
READING = tuple(name for name, parts in EVIDENCE.items() if parts)


class ModelFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The language model that the weights were learned for.

    Attributes:
      name: the model's name in messages.
      identity: the identity of the model file with which the weights were learned.
      package: an installed package that contains the model, and the path of the file in it.
      hub: id on the Hugging Face hub; with `/FILE.gguf` appended, a single file.
      path: path of the model during learning, if it is neither in a package nor on the hub.
    """

    name: str
    identity: str
    package: str | None = None
    hub: str | None = None
    path: str | None = None


class JudgeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contents of `judge.json`.

    Attributes:
      model: the language model; None if the judge has no model.
      max_length: the most tokens of prompt and candidate together that the model reads.
      reading: the weights of the evidence for each kind of pool, with the model.
      alone: the same without the model.
    """

    model: ModelFile | None
    max_length: int
    reading: dict[Kind, dict[str, float]]
    alone: dict[Kind, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class PoolEvidence:
    """The evidence about one problem's candidates.

    Attributes:
      values: for each name of EVIDENCE an array [n], indexed by candidate.
      penalty: [n], the nats that a candidate loses by rule because it breaks off or breaks a limit of the prompt.
      sound: [n] bool, False for a candidate that cannot be right.
      kind: the kind of the pool.
      truncated: the number of candidates that were read without their middle.
    """

    values: Mapping[str, FloatArray]
    penalty: FloatArray
    sound: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
    kind: Kind
    truncated: int

    def quality(self, weights: Weights) -> FloatArray:
        """Computes the candidates' qualities [n] in log-odds; they hardly differ if none of them can be right, so that
        P(best) does not call the best of the wrong ones sure."""
        total = -IMPOSSIBLE * (1.0 - self.sound) - self.penalty
        for name, weight in weights.items():
            total = total + weight * self.values[name]
        return np.asarray(total if self.sound.any() else DOUBT * total, np.float64)


@cache
def rules_digest(folders: tuple[Path, ...]) -> bytes:
    """Hashes the modules in these folders, so that a ledger never answers with the rules of another version. After a
    change of a comment alone the judge asks again too, which costs only time."""
    modules = (module for folder in folders for module in sorted(folder.glob("*.py")))
    return hashlib.sha256(b"".join(hashlib.sha256(module.read_bytes()).digest() for module in modules)).digest()


class PoolJudge:
    """Compares two candidates by the difference of their qualities, which depend on the whole pool."""

    pool_aware = True
    pointwise = True
    one_by_one = False

    def __init__(self, settings: JudgeSettings, reader: Reader | None):
        self.settings, self.reader = settings, reader
        self.weights: Mapping[Kind, Weights] = settings.reading if reader else settings.alone
        digest = hashlib.sha256(msgspec.json.encode(self.weights, order="deterministic") + rules_digest(RULES))
        self.name = f"default:{digest.hexdigest()[:12]}:{reader.name if reader else 'agreement'}"
        self._seen: ProblemMemory[tuple[FloatArray, int]] = ProblemMemory()
        self._unread: ProblemMemory[PoolEvidence] = ProblemMemory()  # of problems that wait for the model

    @classmethod
    def load(cls, folder: Path, reader: Reader | None = None) -> Self:
        """Loads a directory that `flame-train default` wrote. Without a reader the judge uses agreement and rules
        alone.

        Raises:
          UserError: judge.json is missing or damaged.
        """
        return cls(read_judge_settings(folder), reader)

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Returns the log-odds [M] of each problem's pairs: differences of qualities."""
        fresh = list(dict.fromkeys(problem for problem, _ in asked if problem not in self._seen))
        for problem, seen in zip(fresh, self.evidence(fresh), strict=True):
            self._keep(problem, seen)
        return [self._seen[problem][0][pairs] @ np.array([1.0, -1.0]) for problem, pairs in asked]

    def at_once(self, problem: Problem) -> bool:
        """Tells whether the model has nothing to read for this problem."""
        if problem in self._unread:
            return False
        if problem not in self._seen:
            seen = evidence_without_model(problem)
            weights = self.weights[seen.kind]
            if self.reader and parts_to_read(weights) and candidates_to_read(problem, seen, weights):
                self._unread[problem] = seen
                return False
            self._keep(problem, seen)
        return True

    def _keep(self, problem: Problem, seen: PoolEvidence) -> None:
        self._seen[problem] = seen.quality(self.weights[seen.kind]), seen.truncated

    def notes(self, problem: Problem) -> Notes:
        """Returns how many candidates did not fit the model's maximum length."""
        return Notes(truncated=self._seen[problem][1] if problem in self._seen else 0)

    def evidence(self, problems: Sequence[Problem], *, parts: frozenset[Part] | None = None) -> list[PoolEvidence]:
        """Collects the evidence of each problem; the model reads every distinct candidate once, in batches over all
        problems.

        Args:
          parts: which likelihoods the model computes; None computes those that have a weight for this kind of pool.
        """
        evidence = [
            self._unread.pop(problem) if problem in self._unread else evidence_without_model(problem)
            for problem in problems
        ]
        if self.reader is None:
            return evidence
        groups: dict[frozenset[Part], list[int]] = {}
        for k, seen in enumerate(evidence):
            asked = parts_to_read(self.weights[seen.kind]) if parts is None else parts
            if asked:
                groups.setdefault(asked, []).append(k)
        for asked, members in groups.items():
            chosen = [candidates_to_read(problems[k], evidence[k], self.weights[evidence[k].kind]) for k in members]
            pairs = [(problems[k], indices) for k, indices in zip(members, chosen, strict=True)]
            for k, indices, likely in zip(members, chosen, self.reader.read(pairs, asked), strict=True):
                evidence[k] = with_reading(problems[k], evidence[k], indices, likely)
        return evidence


def read_judge_settings(folder: Path) -> JudgeSettings:
    """Reads `judge.json` in a folder.

    Raises:
      UserError: the file is missing or damaged.
    """
    try:
        settings: JudgeSettings = json_file.read(folder / SETTINGS, JudgeSettings)
        for of_kinds in (settings.reading, settings.alone):
            if missing := {*get_args(Kind)} - of_kinds.keys():
                raise ValueError(f"no weights for {min(missing)}")
            if unknown := {name for weights in of_kinds.values() for name in weights} - EVIDENCE.keys():
                raise ValueError(f"unknown evidence {min(unknown)}")
    except (OSError, ValueError) as error:
        raise UserError(f"the judge in {folder} cannot be read: {error}") from error
    return settings


def parts_to_read(weights: Weights) -> frozenset[Part]:
    """Returns the likelihoods that the model has to compute: those with a weight other than 0."""
    return frozenset(part for name, weight in weights.items() if weight for part in EVIDENCE[name])


def evidence_without_model(problem: Problem) -> PoolEvidence:
    """Collects the evidence that needs no model."""
    distinct = list(dict.fromkeys(problem.texts))
    # A prompt with false equations, or in another base, sets its own rules of arithmetic.
    calculated = not false_equations(problem.prompt) and not OTHERWISE.search(problem.prompt)
    views = {text: read_candidate(problem.prompt, text) for text in distinct}
    sound = {
        text: view.valid
        and not faults(problem.prompt, text)
        and not contradicts(problem.prompt, text)
        and (view.code or not calculated or not false_equations(text))
        for text, view in views.items()
    }
    pool = [views[text] for text in problem.texts]
    programs = sum(view.code for view in pool) * 2 >= len(pool)
    vote = None if programs and problem.answers is None else answers.votes(answers.problem_answers(problem))
    if not programs and vote is None:  # most may be programs in other languages than Python
        programs = sum(is_program(problem.prompt, text) for text in problem.texts) * 2 > len(pool)
    few = len({views[text].views[0] for text in distinct if sound[text]}) <= FEW
    nothing = np.zeros(len(pool))
    values = dict.fromkeys(EVIDENCE, nothing) | {
        "overlap": overlap(pool),
        "vote": nothing if vote is None else vote,
    }
    if not programs:
        values |= {
            "repeated": np.array([repeated(text) for text in problem.texts]),
            "refuses": np.array([float(is_refusal(text)) for text in problem.texts]),
        }
    return PoolEvidence(
        values=values,
        penalty=nothing if programs else _penalty(problem, voted=vote is not None),
        sound=np.array([sound[text] for text in problem.texts]),
        kind="answers" if vote is not None else "texts" if not programs else "few programs" if few else "programs",
        truncated=sum(len(text) > LONGEST for text in problem.texts),
    )


def _penalty(problem: Problem, *, voted: bool) -> FloatArray:
    """Computes the nats [n] that each text loses by rule."""
    lost = UNFINISHED * unfinished(problem.texts)
    if not voted:  # a vote says more: one wrong answer that keeps the limit must not beat many right ones
        lost += BREAKS_LIMIT * np.array([breaks_limit(problem.prompt, text) for text in problem.texts])
    return lost


def candidates_to_read(problem: Problem, seen: PoolEvidence, weights: Weights) -> list[int]:
    """Returns the indices of the candidates that the model reads, one for each distinct text: those that can be right,
    or all if none can. If there are more than READ_MOST, the best ones by the evidence without the model. Empty if only
    one text can be right."""
    first: dict[str, int] = {}
    for i, text in enumerate(problem.texts):
        if seen.sound[i] or not seen.sound.any():
            first.setdefault(text, i)
    if len(first) < 2:
        return []
    without = seen.quality({name: weight for name, weight in weights.items() if not EVIDENCE[name]})
    # Ties are broken by the texts, not by position, so that the same texts are read in any order of the candidates.
    return sorted(sorted(first.values(), key=lambda i: (-round(float(without[i]), 9), problem.texts[i]))[:READ_MOST])


def with_reading(problem: Problem, seen: PoolEvidence, chosen: Sequence[int], likely: Likelihoods) -> PoolEvidence:
    """Adds the likelihoods of the chosen candidates to the evidence. The other candidates get the lowest value of the
    chosen ones: so they rank behind the chosen ones, in the same order as without the model."""
    if not chosen:
        return seen
    place = {problem.texts[i]: k for k, i in enumerate(chosen)}
    rows = np.array([place.get(text, -1) for text in problem.texts])

    def spread(read: FloatArray) -> FloatArray:
        return np.asarray(np.where(rows >= 0, read[rows], read.min()))

    total = likely.gain * likely.tokens
    values = {
        **seen.values,
        **{name: spread(getattr(likely, name)) for name in ("forward", "ending", "reverse")},
        "gain": spread(total / (likely.tokens + FLAT_TOKENS)),
        "total": spread(np.clip(total, -MOST_TOTAL, MOST_TOTAL)),
        "refusal": spread(seen.values["refuses"][chosen] * likely.refusal),
    }
    cut = int((likely.cut[rows] & (rows >= 0)).sum())
    return replace(seen, values=values, truncated=max(seen.truncated, cut))
