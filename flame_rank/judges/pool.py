"""The judge that ships inside: a quality for each candidate, in log-odds, from two sources: what an encoder reads in
(prompt, candidate), and how far the candidate agrees with the rest of its pool. See default/README.md, its model card.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self, TypeAlias
from weakref import WeakKeyDictionary

import jax
import msgspec
import numpy as np
from flax import nnx

from flame_rank.errors import UserError
from flame_rank.judges.agreement import overlap
from flame_rank.judges.answers import votes
from flame_rank.judges.base import Notes
from flame_rank.judges.forms import LONGEST, read
from flame_rank.model import buckets, checkpoint
from flame_rank.model.encoder import Encoder, EncoderConfig
from flame_rank.model.tokenizer import Row, RowTokenizer, pad
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray

Kind: TypeAlias = Literal["code", "answers", "prose"]  # what most of a pool is: programs, texts with a final answer

SILENT = 1e-9  # overlaps that differ by less are the same

SETTINGS, WEIGHTS, TOKENIZER = "judge.json", "encoder.safetensors", "tokenizer.json"


class Combination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much each source counts, in nats for one unit of it.

    Attributes:
      pair: for one nat of the encoder's quality where the pool says nothing, as with two candidates.
      encoder: for the same where the pool says something.
      overlap: for an overlap of 1 instead of 0 with the pool.
      cosine: for a mean cosine of 1 instead of 0 between the encoder's vectors of the candidate and the pool.
      vote: for a final answer that all of the pool come to instead of none.
      invalid: off for Python that cannot be right.
    """

    pair: float
    encoder: float
    overlap: float
    cosine: float
    vote: float
    invalid: float

    @property
    def reads(self) -> bool:
        """Whether the encoder counts in a pool that says something."""
        return self.encoder != 0 or self.cosine != 0


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`judge.json`.

    Attributes:
      encoder: the encoder's config.json.
      max_prompt: tokens of the prompt that are read; more lose their middle.
      max_length: tokens of prompt and candidate that are read.
      code, answers, prose: the combinations for the kinds of pools.
    """

    encoder: dict[str, str | int | float | bool | None]
    max_prompt: int
    max_length: int
    code: Combination
    answers: Combination
    prose: Combination


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the judge sees in one problem's candidates, each [n], indexed by candidate.

    Attributes:
      encoder: the encoder's qualities.
      overlap: agreement with the pool in tokens, 0 to 1.
      cosine: agreement with the pool in the encoder's vectors, -1 to 1.
      vote: the share of the pool that comes to the same final answer; 0 where most of it state none.
      valid: 0 for Python that cannot be right, else 1.
      kind: of the pool.
      truncated: candidates that did not fit.
    """

    encoder: FloatArray
    overlap: FloatArray
    cosine: FloatArray
    vote: FloatArray
    valid: FloatArray
    kind: Kind
    truncated: int

    @property
    def silent(self) -> bool:
        """Whether the pool does not tell its candidates apart, as it never does for two."""
        return bool(np.ptp(self.overlap) < SILENT)

    def quality(self, weights: Combination) -> FloatArray:
        """The candidates' qualities [n] in log-odds."""
        encoder = weights.pair if self.silent else weights.encoder
        agreed = weights.overlap * self.overlap + weights.cosine * self.cosine + weights.vote * self.vote
        return encoder * self.encoder + agreed - weights.invalid * (1 - self.valid)


class PoolJudge:
    """Answers by the difference of two qualities; looks at the whole pool."""

    pool_aware = True
    pointwise = True

    def __init__(self, encoder: Encoder, tokenizer: RowTokenizer, settings: Settings, *, name: str):
        graph, self._params = nnx.split(encoder)
        self._encode = jax.jit(lambda params, tokens, types: nnx.merge(graph, params)(tokens, types))
        self._tokenizer, self._settings, self.name = tokenizer, settings, name
        self._seen: WeakKeyDictionary[Problem, tuple[FloatArray, int]] = WeakKeyDictionary()

    @classmethod
    def load(cls, folder: Path, settings: Settings | None = None) -> Self:
        """Reads a directory that `flame-train default` wrote.

        Args:
          settings: instead of its `judge.json`.

        Raises:
          UserError: a file is missing, not whole, or does not fit the others.
        """
        try:
            stated = msgspec.json.encode(settings) if settings else (folder / SETTINGS).read_bytes()
            settings = msgspec.json.decode(stated, type=Settings)
            config = EncoderConfig.read(dict(settings.encoder))
            if settings.max_length > config.max_position_embeddings:  # reading on there would raise no error
                raise ValueError(f"max_length {settings.max_length} is more than the encoder's max_position_embeddings")
            encoder = nnx.eval_shape(lambda: Encoder(config, nnx.Rngs(0)))
            graph, params = nnx.split(encoder)
            checkpoint.fill(params, checkpoint.load(folder / WEIGHTS))
            tokenizer = RowTokenizer(folder / TOKENIZER, max_prompt=settings.max_prompt, max_length=settings.max_length)
        except (OSError, ValueError) as error:
            raise UserError(f"the judge in {folder} cannot be read: {error}") from error
        digest = hashlib.sha256(stated)
        for file in (WEIGHTS, TOKENIZER):
            digest.update((folder / file).read_bytes())
        return cls(nnx.merge(graph, params), tokenizer, settings, name=f"default:{digest.hexdigest()[:12]}")

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Log-odds [M] for each problem: differences of qualities."""
        fresh = list(dict.fromkeys(problem for problem, _ in asked if problem not in self._seen))
        for problem, evidence in zip(fresh, self.evidence(fresh, spare=True), strict=True):
            self._seen[problem] = evidence.quality(self._weights(evidence.kind)), evidence.truncated
        return [self._seen[problem][0][pairs] @ np.array([1.0, -1.0]) for problem, pairs in asked]

    def notes(self, problem: Problem) -> Notes:
        """How many candidates did not fit."""
        return Notes(truncated=self._seen[problem][1] if problem in self._seen else 0)

    def evidence(self, problems: Sequence[Problem], *, spare: bool = False) -> list[Evidence]:
        """What the judge sees in each problem; the encoder reads every distinct candidate once, in batches over all.

        Args:
          spare: leave the encoder's part 0 where this judge's combination makes no use of it.
        """
        agreed = [_agreement(problem) for problem in problems]
        rows: list[Row] = []
        members: list[IntArray | None] = []  # for each problem: [n] which of `rows` a candidate is
        for problem, evidence in zip(problems, agreed, strict=True):
            if spare and not evidence.silent and not self._weights(evidence.kind).reads:
                members.append(None)
                continue
            first = {text: k for k, text in enumerate(dict.fromkeys(problem.texts))}
            members.append(np.array([len(rows) + first[text] for text in problem.texts]))
            rows += self._tokenizer.rows(problem.prompt, list(first))
        qualities, vectors = self._read(rows)
        found = []
        for evidence, member in zip(agreed, members, strict=True):
            if member is not None:
                vector = vectors[member]  # [n, D], of length 1
                evidence = replace(
                    evidence,
                    encoder=qualities[member],
                    cosine=vector @ vector.mean(0),
                    truncated=sum(rows[i].cut for i in member),
                )
            found.append(evidence)
        return found

    def _weights(self, kind: Kind) -> Combination:
        settings = self._settings
        return {"code": settings.code, "answers": settings.answers, "prose": settings.prose}[kind]

    def _read(self, rows: Sequence[Row]) -> tuple[FloatArray, FloatArray]:
        """The encoder's qualities [R] and vectors [R, D] of rows, batched by length."""
        if not rows:
            return np.empty(0), np.empty((0, 0))
        by_length = sorted(range(len(rows)), key=lambda i: len(rows[i].tokens))
        full = buckets.BATCHES[-1]
        read = []
        for start in range(0, len(rows), full):
            taken = [rows[i] for i in by_length[start : start + full]]
            tokens, types = pad(taken, buckets.batch(len(taken)), buckets.length(len(taken[-1].tokens)))
            quality, vector = self._encode(self._params, tokens, types)
            read.append(np.concatenate([np.asarray(quality)[:, None], np.asarray(vector)], 1)[: len(taken)])
        placed = np.empty((len(rows), read[0].shape[1]))
        placed[by_length] = np.concatenate(read)
        return placed[:, 0], placed[:, 1:]


def _agreement(problem: Problem) -> Evidence:
    """The part of the evidence that takes no encoder."""
    forms = {text: read(problem.prompt, text) for text in dict.fromkeys(problem.texts)}
    pool = [forms[text] for text in problem.texts]
    nothing = np.zeros(len(pool))
    code = sum(form.code for form in pool) * 2 >= len(pool)
    vote = None if code else votes(problem.texts)
    return Evidence(
        encoder=nothing,
        overlap=overlap(pool),
        cosine=nothing,
        vote=nothing if vote is None else vote,
        valid=np.array([float(form.valid) for form in pool]),
        kind="code" if code else "prose" if vote is None else "answers",
        truncated=sum(len(text) > LONGEST for text in problem.texts),
    )
