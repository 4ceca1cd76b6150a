"""Plain consensus, against numbers worked out by hand."""

import pytest

from trainer.default_judge.consensus import consensus


def test_three_continuations() -> None:
    # After parsing below "def f():" all share {def f ( ) : return}: six tokens.
    # The first two add {a b +}, the third {a b -}: 9 and 9 of 9, and 8 of 10 in common.
    texts = ["    return a+b\n", "\n    return (a + b)  # the sum\n", "    return a - b\n"]
    assert consensus(texts) == pytest.approx([(1 + 1 + 0.8) / 3, (1 + 1 + 0.8) / 3, (0.8 + 0.8 + 1) / 3])


def test_an_unparsable_text_is_compared_as_it_stands() -> None:
    # {return a +} has two of its three tokens in common with the seven of "def f(): return a".
    assert consensus(["    return a +\n", "    return a\n"]) == pytest.approx([(1 + 2 / 8) / 2] * 2)


@pytest.mark.parametrize("stop", ["\nclass B:", "\ndef g():", "\n# Example", "\nif True:", "\nprint(f(1))"])
def test_a_text_ends_with_its_function(stop: str) -> None:
    assert consensus([f"    return a{stop}\n    more = words\n", "    return a\n"]) == pytest.approx([1.0, 1.0])


def test_empty_texts_agree() -> None:
    assert consensus(["", ""]) == pytest.approx([1.0, 1.0])
    assert consensus(["    return 1\n"]) == pytest.approx([1.0])
