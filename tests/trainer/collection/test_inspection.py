"""What is told of a task's examples before a training."""

from trainer.collection.examples import Counts, Example
from trainer.collection.inspection import LengthBias, describe


def pair(first: str, second: str, label: str) -> Example:
    return Example(task="t", pieces=("", "", ""), values=(first, second), target=f" {label}", label=label)


def test_length_bias_counts_pairs_of_different_lengths() -> None:
    bias = LengthBias()
    for example in (
        pair("long", "s", "A"),  # the longer one is better
        pair("s", "long", "B"),
        pair("s", "long", "A"),
        pair("same", "also", "A"),
        pair("long", "s", "tie"),
    ):
        bias.add(example)
    assert (bias.longer, bias.pairs) == (2, 3)


def test_only_what_there_is_is_described() -> None:
    plain = Counts(records=3, examples=2, unanswered=1, labels={"B": 1, "A": 1})
    assert list(describe(plain, LengthBias())) == [
        "2 examples of 3 records; 1 records without an answer; 0 bad",
        "labels: A 1 (50.0%), B 1 (50.0%)",
    ]
    bad = Counts(records=5, examples=1, ties=1, empty=2, bad=1, first_bad="f:2: not JSON")
    assert list(describe(bad, LengthBias(longer=1, pairs=4))) == [
        "1 examples of 5 records; 1 ties; 2 empty examples; 1 bad (f:2: not JSON)",
        "the longer response is the better one: 25.0% of 4",
    ]
