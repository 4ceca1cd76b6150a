"""The formats of tools that make training data: verl's rollouts and distilabel's generations."""

from dataclasses import dataclass

import msgspec

from flame_rank.io.formats.base import RAWS, Fields, Parsed, Raw, kind_of, needed, strings, text


@dataclass(frozen=True)
class Verl:
    """verl's rollouts (`trainer.rollout_data_dir`): `{"input", "output", "gts", "score", "step", ...}`.

    A line is a sample; the lines with the same input make a problem.
    """

    name: str = "verl"

    def fits(self, fields: Fields) -> bool:
        """Tells whether a line is a rollout with its score and step."""
        return {"input", "output", "score", "step"} <= fields.keys()

    def flat(self, fields: Fields) -> bool:
        """Returns True: a line is a sample."""
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
    """distilabel's generations: `{"instruction", "generations": [...], ...}`, or `messages` of a ChatGeneration.

    The list is called `generation` if the task grouped it (group_generations), and `grouped_generation` if GroupColumns
    did (`merged_generation` before 1.4); without grouping, a line is a sample. A `system_prompt` was part of the
    request.
    """

    name: str = "distilabel"

    def fits(self, fields: Fields) -> bool:
        """Tells whether a line has what was generated, and an instruction or messages with a mark of distilabel."""
        asked = "instruction" in fields or ("messages" in fields and any(mark in fields for mark in _MARKS))
        return asked and any(key in fields for key in _GENERATED)

    def flat(self, fields: Fields) -> bool:
        """Tells whether a line has a single generation: a text instead of a list of texts."""
        return kind_of(fields[_generated(fields)]) != "a list"

    def parse(self, fields: Fields) -> Parsed:
        """Reads the generations."""
        prompt, messages = _asked(fields)
        key = _generated(fields)
        if self.flat(fields):
            texts, originals = [text(fields[key], f'"{key}"')], [fields[key]]
        else:
            texts, originals = strings(fields[key], f'"{key}"'), RAWS.decode(fields[key])
        return Parsed(prompt=prompt, candidates=texts, originals=originals, messages=messages)


_GENERATED = ("generations", "grouped_generation", "merged_generation", "generation")
_MARKS = ("distilabel_metadata", "model_name", "grouped_model_name", "generation_models")


def _generated(fields: Fields) -> str:
    """Returns the field that holds what was generated."""
    for key in _GENERATED:
        if key in fields:
            return key
    raise ValueError('no "generations", which a line of distilabel has; mend or remove the line')


def _asked(fields: Fields) -> tuple[str, Raw | None]:
    """Returns the prompt as a text, and as messages if it was more than an instruction."""
    key = "messages" if "messages" in fields and "instruction" not in fields else "instruction"
    given, system = needed(fields, key, "distilabel"), fields.get("system_prompt")
    if system is not None and kind_of(system) == kind_of(given) == "a string":
        roles = {"system": system, "user": given}
        given = Raw(msgspec.json.encode([{"role": role, "content": content} for role, content in roles.items()]))
    return text(given, f'"{key}"'), given if kind_of(given) == "a list" else None
