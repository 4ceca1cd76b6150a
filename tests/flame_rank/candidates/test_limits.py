"""Which limits of a prompt a text breaks, and what is no limit."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_rank.candidates.limits import breaks_limit

# A prompt, answers that keep its limit, and answers that break it.
LIMITS: dict[str, tuple[list[str], list[str]]] = {
    "Answer in one word: which city has the Bronx?": (["York", "New York."], ["It is there.", "I think York"]),
    "Summarise the plot in at most six words.": (["A whale wins."], ["A whale wins against a very old captain."]),
    "Describe rain. Do not exceed 5 words.": (["Water from the sky."], ["Water that falls down from the sky."]),
    "Describe rain with no more than 20 characters.": (["Water from above"], ["Water that comes from above"]),
    "Describe rain (5 words max).": (["Water."], ["Water that falls down from the sky."]),
    "Give me three words that describe summer.": (
        ["Hot, sunny, fun.", "1. Hot\n2. Sunny\n3. Fun"],
        ["It is hot and sunny."],
    ),
    "In one sentence, how do I dry my shoes?": (["Leave them in the sun."], ["Leave them out. Turn them."]),
    "My shoes are wet. In one word, why?": (["Rain."], ["It rained on them."]),
    "Explain why ice floats in one sentence.": (["It is light."], ["It is light. Water is not."]),
    "Reply only in JSON: who barks?": (['{"a": "dog"}'], ['Sure! {"a": "dog"}']),
    "Write a 20+ word story.": (["word " * 20], ["Once there was a cat."]),
    "Write at least twenty words on cats.": (["word " * 25], ["Cats purr."]),
    "Write about tea in 10 to 12 words.": (["tea " * 11], ["tea " * 13, "tea"]),
    "Write about tea in 100 words.": (["tea " * 130, "tea " * 60], ["tea " * 151]),
    "Write a sentence of exactly four words.": (
        ["Cats like warm milk."],
        ["Cats like milk.", "Cats like very warm milk."],
    ),
    "In one sentence, what is a verb?": (["A doing word, e.g. run."], ["It is a word. It says what is done."]),
    "Give a polite one-sentence request.": (["Could you come, Mr. Hill?"], ["Please come. I wait."]),
    "Give me just two sentences on snow.": (
        ["Snow is cold. It melts."],
        ["Snow is cold.", "It falls. It lies. It melts."],
    ),
    "Write a poem of exactly two lines.": (["The sea\nand me"], ["The sea", "a\nb\nc"]),
    "Write a two-line poem about the sea.": (["The sea\nand me"], ["The sea", "a\nb\nc"]),
    "Describe Rome in two paragraphs.": (["Old.\n\nBig.", "Old.\n***\nBig."], ["Old and big.", "Old.\n\nBig.\n\nHot."]),
    "Use exactly 3 bullet points.": (["- a\n- b\n- c", "* a\n* b\n* c"], ["- a\n- b", "- a\n- b\n- c\n- d"]),
    "Reply in CAPITAL LETTERS only: who barks?": (["A DOG.", "A DOG, SAYS IAN McKAY."], ["a dog", "A Dog barks."]),
    "Who barks? Use all lowercase letters.": (["a dog"], ["A DOG", "Dogs Bark"]),
    "Who barks? Answer without using capital letters.": (["a dog"], ["A DOG"]),
    "Name a fruit and a nut. Don't use any commas.": (["a pear and a walnut"], ["pear, walnut"]),
    "Give name and age. Output only the JSON.": (['{"a": 1}', '```json\n{"a": 1}\n```'], ["a: 1", 'Sure! {"a": 1}']),
    "List three fruits, one per line.": (["fig\npear\nplum"], ["fig, pear, plum"]),
    'Describe tea without using the word "hot".': (["A warm drink.", "Sold in a hotel."], ["A hot drink."]),
    'Describe tea. Include the words "leaf" and "cup".': (["Leaves... a leaf; two cups."], ["A leaf.", "A cup."]),
    "Describe tea. End with the word 'cup'.": (["It is in a cup."], ["It is in a mug."]),
    "Human: In one word, who barks?\n\nAssistant: A dog.\n\nHuman: In two words, who moos?": (
        ["A cow."],
        ["It is a cow."],
    ),
}


@pytest.mark.parametrize("prompt", LIMITS)
def test_what_keeps_a_limit_and_what_breaks_it(prompt: str) -> None:
    kept, broken = LIMITS[prompt]
    assert [breaks_limit(prompt, text) for text in kept] == [False] * len(kept)
    assert [breaks_limit(prompt, text) for text in broken] == [True] * len(broken)


LONG = "Then the man said to all of them that he would come back in one word or in two, and they laughed at him."


@pytest.mark.parametrize(
    "prompt",
    [
        "What is the meaning of the first two words of this sentence?",
        "Combine the two sentences: I ran. I fell.",
        "Which one word is misspelt here?",
        "Explain what a one-line function is.",
        "Write a title in capital letters and a text below it.",
        "Use words with all capital letters for what matters.",
        "Rewrite this without changing what contains the word 'cat'.",
        "Replace every text that uses the word 'cat'.",
        "They often use the term, in official texts, of a democratic state.",
        f"Continue this story: '{LONG}'",
        f"{'The road went on and on. ' * 20}{LONG}{'They walked. ' * 40}",
        "Human: Answer in one word.\n\nAssistant: Yes.\n\nHuman: Now tell me more.",
        "Convert the following to upper case: abc",
        "What does the phrase 'in one word' mean?",
        "What is wrong with “in all caps, in two lines”?",
        "Why should I not use the word 'answer' in essays?",
        "My essay must be at least 300 words. What is a good topic?",
        "I was told to write in one word, but I wrote more. Is that bad?",
        "Should I avoid using the word 'answer' here?",
        "Read a file with only the JSON module.",
        "",
    ],
)
def test_what_is_no_limit(prompt: str) -> None:
    for text in (
        "Yes.",
        "It is, as I said, a long answer. It has words.\nAnd lines.\n\nAnd paragraphs, too.",
        "CAT",
        "a, b",
    ):
        assert not breaks_limit(prompt, text)


@given(st.text(), st.text())
def test_any_text_can_be_asked(prompt: str, text: str) -> None:
    assert breaks_limit(prompt, text) in (True, False)


@given(st.integers(1, 60), st.integers(1, 60))
def test_words_are_counted(limit: int, count: int) -> None:
    assert breaks_limit(f"Answer in at most {limit} words.", " ".join(["tea"] * count)) == (count > limit)


@pytest.mark.parametrize(
    "part", [".", "!? ", "\n", " \n", "- ", "* * *\n", "a.", "'a ", '"', "one to ", "[", "\\boxed{"]
)
def test_long_texts_take_no_time(part: str) -> None:
    long = part * (4_000_000 // len(part))
    start = time.process_time()
    for prompt in ("Use two sentences, three bullet points, four paragraphs and 5 lines. Output only JSON.", long):
        breaks_limit(prompt, long)
    assert time.process_time() - start < 5  # a search that is quadratic takes hours
