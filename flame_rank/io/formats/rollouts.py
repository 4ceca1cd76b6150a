"""What pipelines of training data write: verl's rollouts and distilabel's generations."""

from dataclasses import dataclass

from flame_rank.io.formats.base import RAWS, Fields, Parsed, kind, needed, strings, text


@dataclass(frozen=True)
class Verl:
    """verl's rollouts (`trainer.rollout_data_dir`): `{"input", "output", "gts", "score", "step", ...}`, a line a
    sample; the lines with the same input are a problem."""

    name: str = "verl"

    def fits(self, fields: Fields) -> bool:
        """A line is a rollout with its score and step."""
        return {"input", "output", "score", "step"} <= fields.keys()

    def flat(self, fields: Fields) -> bool:
        """A line is a sample."""
        return True

    def parse(self, fields: Fields) -> Parsed:
        """Reads a rollout."""
        output = needed(fields, "output", "verl")
        return Parsed(
            prompt=text(needed(fields, "input", "verl"), '"input"'),
            candidates=[text(output, '"output"')],
            originals=[output],
        )


@dataclass(frozen=True)
class Distilabel:
    """distilabel's generations: `{"instruction", "generations": [...], ...}`; `generation` if they were grouped by its
    own task, and a line a sample if that is a text."""

    name: str = "distilabel"

    def fits(self, fields: Fields) -> bool:
        """A line has an instruction and what was generated."""
        return "instruction" in fields and ("generations" in fields or "generation" in fields)

    def flat(self, fields: Fields) -> bool:
        """A line has one generation, a text."""
        return "generations" not in fields and "generation" in fields and kind(fields["generation"]) != "a list"

    def parse(self, fields: Fields) -> Parsed:
        """Reads the generations."""
        prompt = text(needed(fields, "instruction", "distilabel"), '"instruction"')
        key = "generations" if "generations" in fields else "generation"
        given = needed(fields, key, "distilabel")
        if kind(given) != "a list":
            return Parsed(prompt=prompt, candidates=[text(given, f'"{key}"')], originals=[given])
        return Parsed(prompt=prompt, candidates=strings(given, f'"{key}"'), originals=RAWS.decode(given))
