"""The options after the `#` of a judge that is a model on this machine."""

from dataclasses import dataclass

from flame_rank.judges import spec_options
from flame_rank.judges.written import DrawOptions, answer_limit

KINDS = {**spec_options.DRAWN, "seed": spec_options.whole(0)}


@dataclass(frozen=True, kw_only=True)
class ThinkOptions(DrawOptions):
    """How a model on this machine thinks; all of these may follow the `#` in `--judge`.

    Attributes:
      think, samples, temperature, top_p: as in `DrawOptions`; one sample if none are given. Temperature 0 always takes
        the likeliest token.
      seed: the seed of the random choices.
    """

    seed: int = 0

    @property
    def limit(self) -> int:
        """The most tokens of an answer."""
        return answer_limit(self.think or 0)
