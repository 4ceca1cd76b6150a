"""Describes a task's examples before training: tokens, labels, and how far length alone predicts the label."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flame_rank.errors import UserError
from flame_rank.prompts.instructions import VERDICTS
from trainer.collection.examples import Counts, Example


@dataclass(kw_only=True)
class LengthBias:
    """How often the longer response of a pair is the better one: the accuracy of a judge that only compares lengths.

    Attributes:
      longer: the number of pairs whose longer response is the better one.
      pairs: the number of pairs that have a better response and responses of different lengths, in characters.
    """

    longer: int = 0
    pairs: int = 0

    def add(self, example: Example) -> None:
        """Counts one example of a pairwise task; skips a tie."""
        first, second = map(len, example.values[-2:])
        if example.label in VERDICTS and first != second:
            self.pairs += 1
            self.longer += (first > second) == (example.label == VERDICTS[0])


def describe(counts: Counts, bias: LengthBias) -> Iterator[str]:
    """Yields lines that summarise a task: its records and examples, its labels, and its length bias, if it has one."""
    omitted = [
        (counts.unanswered, "records without an answer"),
        (counts.ties, "ties"),
        (counts.empty, "empty examples"),
    ]
    parts = [f"{counts.examples} examples of {counts.records} records", *(f"{n} {what}" for n, what in omitted if n)]
    yield f"{'; '.join(parts)}; {counts.bad} bad{f' ({counts.first_bad})' if counts.bad else ''}"
    if counts.labels:
        shares = [f"{label} {times} ({times / counts.examples:.1%})" for label, times in sorted(counts.labels.items())]
        yield f"labels: {', '.join(shares)}"
    if bias.pairs:
        yield f"the longer response is the better one: {bias.longer / bias.pairs:.1%} of {bias.pairs}"


def token_counter(checkpoint: Path | None, say: Callable[[str], None]) -> Callable[[str], int]:
    """Returns a function that counts the tokens of a text.

    Args:
      checkpoint: the folder with the tokenizer. None uses that of the default judge's language model if it is on this
        machine; otherwise words are counted.
      say: receives a line if words are counted.

    Raises:
      UserError: the tokenizer cannot be read.
    """
    from flame_rank.judges import model_location
    from flame_rank.model.text import load

    folder = checkpoint
    if folder is None:
        model = model_location.shipped()
        folder, _ = model_location.find(model, download=False)
        if folder is None:
            say(f"{model.name} is not on this machine, so words are counted as tokens; name another by --tokenizer")
            return lambda text: len(text.split())
    try:
        tokenizer = load(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"{'--tokenizer ' if checkpoint else ''}{folder}: {error}") from error
    return lambda text: tokenizer.count([text])[0]
