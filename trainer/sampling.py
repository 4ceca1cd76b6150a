"""Which comparisons the encoder sees at which step: a pure function of (seed, step), so a run resumes exactly."""

import ast
import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer.comparisons import Comparison
from trainer.pools import Pool

HELD_OUT = 0.2  # the share of problems that no step sees


def held_out(prompt: str) -> bool:
    """Whether a prompt belongs to the part that is measured on; every comparison of a prompt is on one side."""
    return int(hashlib.sha256(prompt.encode()).hexdigest()[:8], 16) / 2**32 < HELD_OUT


def plain(body: str) -> str:
    """A function body with the layout of an unparsed program: a damaged one has no other."""
    return "\n".join(ast.unparse(ast.parse("def f():\n" + body)).split("\n")[1:]) + "\n"


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """The training part of pools and tasks.

    Attributes:
      pools: with at least one right and one wrong program each.
      tasks: comparisons by task name.
      code: the share of steps that come from the pools.
    """

    pools: Sequence[Pool]
    tasks: Mapping[str, Sequence[Comparison]]
    code: float = 0.5

    @classmethod
    def of(cls, pools: Sequence[Pool], tasks: Mapping[str, Sequence[Comparison]]) -> "Mixture":
        """Keeps what is not held out."""
        return cls(
            pools=[p for p in pools if any(p.right) and not all(p.right) and not held_out(p.prompt)],
            tasks={name: [c for c in found if not held_out(c.prompt)] for name, found in tasks.items()},
        )

    def batch(self, seed: int, step: int, size: int) -> list[Comparison]:
        """The `size` comparisons of one step, all from one source, so that they are of like length."""
        rng = random.Random(f"{seed} {step}")
        if rng.random() < self.code:
            return [self._programs(rng) for _ in range(size)]
        return rng.choices(self.tasks[rng.choice(sorted(self.tasks))], k=size)

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
