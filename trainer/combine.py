"""How much each source of the default judge counts, learned on problems that the encoder never saw."""

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from flame_rank.judges.pool import Combination, Evidence
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray
from trainer.comparisons import Comparison
from trainer.pools import Pool

T = TypeVar("T")

SAMPLES = 10  # candidates drawn from a pool of programs, as in the paper's Table 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """A problem, and which of its candidates are better than which.

    Attributes:
      problem: what a judge is given.
      pairs: [P, 2] int64 candidate indices, the better one first.
      right: [n] bool for a pool of programs: which of them pass their tests.
    """

    problem: Problem
    pairs: IntArray
    right: "np.ndarray[tuple[int], np.dtype[np.bool_]] | None" = None


def draw(pools: Sequence[Pool], *, seed: int, times: int) -> list[Judged]:
    """Pools as a weak, hot sampler would fill them: `SAMPLES` programs, one to six of them right.

    The models behind the pools are strong: half of their programs pass. A combination learned on pools like that does
    not carry over, so a pool here has mostly wrong ones, and damaged programs where there are too few.
    """
    drawn = []
    for time in range(times):
        for pool in pools:
            rng = random.Random(f"{seed} {time} {pool.problem}")
            right = [text for text, passed in zip(pool.texts, pool.right, strict=True) if passed]
            wrong = [
                text
                for mutant in (False, True)
                for text in _shuffled(rng, (t for t, m, r in _labelled(pool) if m is mutant and not r))
            ]
            some = rng.sample(right, min(rng.randint(1, 6), len(right)))
            rest = wrong[: SAMPLES - len(some)]
            if not some or not rest or len(some) + len(rest) < SAMPLES // 2:
                continue
            labelled = _shuffled(rng, [(text, True) for text in some] + [(text, False) for text in rest])
            passed = np.array([label for _, label in labelled])
            pairs = np.array([(i, j) for i in np.flatnonzero(passed) for j in np.flatnonzero(~passed)], np.int64)
            texts = [text for text, _ in labelled]
            drawn.append(Judged(problem=Problem(prompt=pool.prompt, candidates=texts), pairs=pairs, right=passed))
    return drawn


def group(comparisons: Iterable[Comparison]) -> list[Judged]:
    """All comparisons of one prompt as one problem: some tasks have many answers to a prompt, some two."""
    found: dict[str, list[Comparison]] = defaultdict(list)
    for comparison in comparisons:
        found[comparison.prompt].append(comparison)
    judged = []
    for prompt, of_prompt in found.items():
        place: dict[str, int] = {}
        pairs = [tuple(place.setdefault(text, len(place)) for text in (c.better, c.worse)) for c in of_prompt]
        judged.append(Judged(problem=Problem(prompt=prompt, candidates=list(place)), pairs=np.array(pairs, np.int64)))
    return judged


EVIDENCE = ("encoder", "overlap", "cosine", "vote")
# Off for a program that cannot be right, in nats: not learned, since strong samplers write next to none.
IMPOSSIBLE = 10.0


def learn(
    judged: Sequence[Judged], seen: Sequence[Evidence], *, using: Collection[str] = EVIDENCE, steps: int = 1000
) -> Combination:
    """The combination under which the pairs are likeliest, each problem counting once.

    Args:
      judged: problems with their pairs.
      seen: what the judge sees in each.
      using: the kinds of evidence that may count; the others' weights are 0. None counts below 0.
    """
    used = jnp.array([float(name in using) for name in EVIDENCE])
    columns = [_columns(evidence) for evidence in seen]
    invalid = IMPOSSIBLE if all(evidence.kind == "code" for evidence in seen) else 0.0
    differences = _differences(judged, columns)  # [P, kinds of evidence]
    off = _differences(judged, [invalid * (evidence.valid - 1) for evidence in seen])  # [P]
    share = np.concatenate([np.full(len(one.pairs), 1 / len(one.pairs)) for one in judged]) / len(judged)

    def loss(weights: jax.Array) -> jax.Array:
        nats = jnp.asarray(differences) @ (used * jax.nn.softplus(weights)) + off
        # A little pull to 0 settles what the pairs leave open: a source that never differs.
        return (jax.nn.softplus(-nats) * share).sum() + 1e-4 * jnp.square(jax.nn.softplus(weights)).sum()

    tx = optax.adam(0.05)
    weights = jnp.zeros(len(EVIDENCE))
    state = tx.init(weights)

    @jax.jit
    def step(weights: jax.Array, state: optax.OptState) -> tuple[jax.Array, optax.OptState]:
        updates, state = tx.update(jax.grad(loss)(weights), state)
        return weights + updates, state

    for _ in range(steps):
        weights, state = step(weights, state)
    learned = {name: round(float(w), 2) for name, w in zip(EVIDENCE, used * jax.nn.softplus(weights), strict=True)}
    return Combination(pair=learned["encoder"], invalid=invalid, **learned)


def _differences(judged: Sequence[Judged], values: Sequence[FloatArray]) -> FloatArray:
    """What the better one of each pair has more, over all problems."""
    return np.concatenate([v[one.pairs[:, 0]] - v[one.pairs[:, 1]] for one, v in zip(judged, values, strict=True)])


def right_share(one: Judged, quality: FloatArray) -> float:
    """How well qualities [n] rank a problem: of a pool of programs whether the pick is right (ties share it), of others
    the share of pairs in the right order (a tie is half)."""
    quality = np.round(quality, 9)
    if one.right is not None:
        return float(one.right[quality == quality.max()].mean())
    nats = quality[one.pairs[:, 0]] - quality[one.pairs[:, 1]]
    return float(((nats > 0) + 0.5 * (nats == 0)).mean())


def _columns(evidence: Evidence) -> FloatArray:
    """[n, kinds of evidence], in the order of EVIDENCE."""
    by_name: Mapping[str, FloatArray] = {
        "encoder": evidence.encoder,
        "overlap": evidence.overlap,
        "cosine": evidence.cosine,
        "vote": evidence.vote,
    }
    return np.stack([by_name[name] for name in EVIDENCE], axis=1)


def _labelled(pool: Pool) -> Iterable[tuple[str, bool, bool]]:
    return zip(pool.texts, pool.mutant, pool.right, strict=True)


def _shuffled(rng: random.Random, items: Iterable[T]) -> list[T]:
    shuffled = list(items)
    rng.shuffle(shuffled)
    return shuffled
