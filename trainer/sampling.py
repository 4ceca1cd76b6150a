"""Which comparisons the encoder sees at which step: a pure function of (seed, step), so a run resumes exactly."""

import ast
import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer.comparisons import SOURCES, Comparison
from trainer.damage import damaged
from trainer.pools import Pool

HELD_OUT = 0.2  # the share of problems that no step sees
CODE, DAMAGED = 0.25, 0.15  # the shares of steps with programs, and with replies that were damaged


def held_out(prompt: str) -> bool:
    """Whether a prompt belongs to the part that is measured on; every comparison of a prompt is on one side."""
    return int(hashlib.sha256(prompt.encode()).hexdigest()[:8], 16) / 2**32 < HELD_OUT


def plain(body: str) -> str:
    """A function body with the layout of an unparsed program: a damaged one has no other."""
    return "\n".join(ast.unparse(ast.parse("def f():\n" + body)).split("\n")[1:]) + "\n"


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """The training part of pools and sources.

    Attributes:
      pools: with at least one right and one wrong program each.
      sources: comparisons by the names of SOURCES.
    """

    pools: Sequence[Pool]
    sources: Mapping[str, Sequence[Comparison]]

    @classmethod
    def of(cls, pools: Sequence[Pool], sources: Mapping[str, Sequence[Comparison]]) -> "Mixture":
        """Keeps what is not held out, of sources with two prompts at least."""
        kept = {name: [c for c in found if not held_out(c.prompt)] for name, found in sources.items()}
        return cls(
            pools=[p for p in pools if any(p.right) and not all(p.right) and not held_out(p.prompt)],
            sources={name: found for name, found in kept.items() if len({c.prompt for c in found}) > 1},
        )

    def batch(self, seed: int, step: int, size: int) -> list[Comparison]:
        """The `size` comparisons of one step, all from one source, so that they are of like length."""
        rng = random.Random(f"{seed} {step}")
        kind = rng.random()
        if kind < CODE:
            return [self._programs(rng) for _ in range(size)]
        names = sorted(name for name in self.sources if kind >= CODE + DAMAGED or SOURCES[name].free)
        name = rng.choices(names, [SOURCES[name].weight for name in names])[0]
        if kind < CODE + DAMAGED:
            return [self._damaged(name, rng) for _ in range(size)]
        return rng.choices(self.sources[name], k=size)

    def _damaged(self, name: str, rng: random.Random) -> Comparison:
        while True:
            one, other = rng.choices(self.sources[name], k=2)
            if one.prompt != other.prompt and (worse := damaged(one.better, other.better, rng)):
                return Comparison(prompt=one.prompt, better=one.better, worse=worse)

    def _programs(self, rng: random.Random) -> Comparison:
        pool = rng.choice(self.pools)
        right = rng.choice([text for text, passed in zip(pool.texts, pool.right, strict=True) if passed])
        wrong = [i for i, passed in enumerate(pool.right) if not passed]
        sampled = [i for i in wrong if not pool.mutant[i]]
        # A mutant teaches to look closely, a sampled mistake what mistakes look like: half of each where both are.
        of = sampled if sampled and rng.random() < 0.5 else wrong
        chosen = rng.choice(of)
        better = plain(right) if pool.mutant[chosen] else right
        return Comparison(prompt=pool.prompt, better=better, worse=pool.texts[chosen])
