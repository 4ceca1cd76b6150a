"""Where a text breaks off, by itself and beside the others of its pool."""

import pytest

from flame_rank.judges.default.endings import broken_off, unfinished

ENDINGS = [
    (1.0, "Leaves change their colour because the"),
    (1.0, "Leaves change their colour when it gets cold and"),
    (1.0, "The green is broken down. What remains is made of"),
    (1.0, "The green is broken down, which means that you"),
    (1.0, "There are many reasons for this, such as the cold,"),
    (1.0, "There are many reasons for this (for example the cold"),
    (1.0, "Die Blätter werden im Herbst rot, gelb,"),
    (1.0, "Les feuilles deviennent rouges en automne («feuilles mortes"),
    (1.0, "Here is how it works in the end:\n```python\nprint(1)"),
    (0.5, "The days get shorter. The trees save water. The leaves lose their green"),
    (0.0, "The days get shorter. The trees save water."),
    (0.0, "He said: 'The days get shorter and shorter.'"),
    (0.0, "Because it gets cold"),
    (0.0, "A tree that people love to look at"),
    (0.0, "I do not know who they are"),
    (0.0, "The days get shorter. It gets cold. See https://example.org/leaves"),
    (0.0, "It works. It is easy. You need:\n- red paint\n- a brush\n- something to put it on"),
    (0.0, "Dear Ann, it was nice. We will come again. Thank you.\n\nBest wishes,\nTom"),
    (0.0, "Dear Ann, it was nice. We will come again. Thank you.\n\nBest wishes,"),
    (0.0, "Red leaves on the ground\nyellow leaves on every tree\nautumn comes to the"),
    (0.0, "There are 3 oaks. There are 2 elms. So the answer is 5"),
    (0.0, "```python\nprint(1)\n```"),
    (0.0, "def f(x):\n    return x if x else a"),
    (0.0, "这是红叶。秋天来了。天气冷了。"),
    (0.0, ""),
]


@pytest.mark.parametrize(("certainty", "text"), ENDINGS)
def test_broken_off(certainty: float, text: str) -> None:
    assert broken_off(text) == certainty


WHOLE = "Paris is a city in France, and it lies on the Seine."


OPEN = "Paris is a city in France"


def test_a_pool_shows_what_is_unfinished() -> None:
    # By itself such a sentence may be whole, as a title is; beside sentences with an end it is not.
    assert unfinished([OPEN]).tolist() == unfinished([OPEN, "Paris"]).tolist()[:1] == [0.0]
    assert unfinished([WHOLE, OPEN]).tolist() == [0.0, 1.0]
    assert unfinished([OPEN, "Paris", "    return x\n", WHOLE]).tolist() == [1.0, 0.0, 0.0, 0.0]
    assert unfinished([OPEN, "Yes."]).tolist() == [0.0, 0.0]  # no sentence, but a word
    cut = "Paris is a city in France, and it lies on the"
    assert unfinished([cut]).tolist() == unfinished([cut, OPEN]).tolist()[:1] == [broken_off(cut)] == [1.0]


@pytest.mark.parametrize(
    ("certainty", "text"),
    [
        (0.0, "Dear Ann, it was nice. We will come again.\n\nBest wishes,\nTom"),
        (0.0, "It is easy. You need:\n- red paint\n- a brush\n- something to put it on"),
        (0.0, "1. Lisbon\n2. Porto, for the river and the old town"),
        (0.0, "The leaves turn red in autumn.\nSource: https://example.org/leaves"),
        (0.0, "Red leaves on the ground\nyellow leaves on every tree\nautumn comes to me"),
        (1.0, "1. Wash the onions in water.\n2. Peel them well.\n3. Cut the onions into thin"),
        (1.0, "The leaves turn red in autumn.\n\nThe second cause is a lack of water"),
        (1.0, "The leaves turn red in autumn, when it gets cold"),
    ],
)
def test_what_needs_no_final_punctuation_beside_sentences_that_have_it(certainty: float, text: str) -> None:
    assert unfinished([WHOLE, text]).tolist() == [0.0, certainty]
