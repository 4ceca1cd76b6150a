"""Preferences: TRL's pairs, and the benchmarks RewardBench (pairs) and RewardBench 2 (best of four or more).

`{"prompt", "chosen", "rejected"}`, each a text or a list of messages; if there is no prompt, it is the start that both
lists have in common (TRL's dataset formats). RewardBench 2 has lists of texts: the chosen ones are the first
candidates.
"""

from dataclasses import dataclass

from flame_rank.io.formats.base import (
    RAWS,
    Fields,
    Parsed,
    Raw,
    decoded,
    kind_of,
    needed,
    start_in_common,
    strings,
    text,
)


@dataclass(frozen=True)
class Trl:
    """TRL's pairs, and with `--from trl` also lines of a prompt with one completion."""

    name: str = "trl"

    def fits(self, fields: Fields) -> bool:
        """Tells whether a line has a chosen and a rejected answer."""
        return {"chosen", "rejected"} <= fields.keys() and not RewardBench2().fits(fields)

    def flat(self, fields: Fields) -> bool:
        """Tells whether a line has one completion."""
        return "completion" in fields and "chosen" not in fields

    def parse(self, fields: Fields) -> Parsed:
        """Reads the chosen and the rejected answer, in this order."""
        keys = ["completion"] if self.flat(fields) else ["chosen", "rejected"]
        originals = [needed(fields, key, "TRL") for key in keys]
        if "prompt" not in fields and len(originals) == 2:
            chosen, rejected = originals
            if kind_of(chosen) == kind_of(rejected) == "a list":
                prompt, *candidates = start_in_common(chosen, rejected, '"chosen" and "rejected"')
                return Parsed(prompt=prompt, candidates=candidates, originals=originals, implicit=True)
            raise ValueError('no "prompt"; add one, a text or messages')
        prompt_raw = needed(fields, "prompt", "TRL")
        return Parsed(
            prompt=text(prompt_raw, '"prompt"'),
            candidates=[text(raw, f'"{key}"') for key, raw in zip(keys, originals, strict=True)],
            originals=originals,
            messages=prompt_raw if kind_of(prompt_raw) == "a list" else None,
        )


@dataclass(frozen=True)
class RewardBench2:
    """RewardBench 2: `{"id", "prompt", "chosen": [...], "rejected": [...], "num_correct", "subset", ...}`."""

    name: str = "rewardbench2"

    def fits(self, fields: Fields) -> bool:
        """Tells whether both the chosen and the rejected answers are lists of texts."""
        return "prompt" in fields and all(key in fields and _texts(fields[key]) for key in ("chosen", "rejected"))

    def flat(self, fields: Fields) -> bool:
        """Returns False: a line is a whole problem."""
        return False

    def parse(self, fields: Fields) -> Parsed:
        """Reads the chosen answers and then the rejected ones."""
        lists = [needed(fields, key, "RewardBench 2") for key in ("chosen", "rejected")]
        candidates = [
            item for key, raw in zip(("chosen", "rejected"), lists, strict=True) for item in strings(raw, f'"{key}"')
        ]
        name = decoded(fields["id"]) if "id" in fields else None
        return Parsed(
            prompt=text(needed(fields, "prompt", "RewardBench 2"), '"prompt"'),
            candidates=candidates,
            originals=[original for raw in lists for original in RAWS.decode(raw)],
            name=name if isinstance(name, str | int) else None,
        )


def _texts(raw: Raw) -> bool:
    return kind_of(raw) == "a list" and all(kind_of(item) == "a string" for item in RAWS.decode(raw))
