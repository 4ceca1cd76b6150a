"""The instructions of a judge: the first block of the paper's unified format (section 3.3)."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Instructions:
    """The instructions of a task.

    Attributes:
      title: the title of the task, one line.
      description: the definition of the task and the instructions for the evaluation.
      output_fields: the fields that the judge answers, in this order.
    """

    title: str
    description: str
    output_fields: tuple[str, ...] = ("choice",)


_LETTERS = "Answer with A if response_a is the better one, with B if response_b is."
PAIRWISE = Instructions(
    title="Which response is better?",
    description=(
        "Two responses to the same prompt are given. Compare how correct, helpful and complete they are, and do not "
        f"let their length or their order sway you. {_LETTERS}"
    ),
)
PAIRWISE_CONTEXT = ("prompt", "response_a", "response_b")
VERDICTS = ("A", "B")  # values of the field `choice`


def with_criteria(criteria: str) -> Instructions:
    """Makes the instructions for a pairwise judgement by the user's own criteria."""
    return replace(PAIRWISE, description=f"{criteria.strip()}\n{_LETTERS}")


def with_words(instructions: Instructions) -> Instructions:
    """Adds an explanation to the instructions, after the verdict, so that the verdict can be read first."""
    return replace(instructions, output_fields=(*instructions.output_fields, "explanation"))


def with_reasons_first(instructions: Instructions, last: str = "`choice: A` or `choice: B`") -> Instructions:
    """Changes the instructions so that they ask for the reasons before the verdict, and for a last line like `last`."""
    return replace(
        instructions,
        description=(
            f"{instructions.description} First explain your reasons. Then write a last line that is {last} and "
            "nothing else."
        ),
        output_fields=("explanation", *instructions.output_fields),
    )
