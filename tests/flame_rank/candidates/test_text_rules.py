"""Which texts cannot be a good answer, and which look like it but can."""

# ruff: noqa: RUF001 - signs of other scripts are meant

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flame_rank.candidates.text_rules import faults, is_program
from flame_rank.judges.default.endings import broken_off

WHY = "Why do leaves change their colour in autumn?"
MASH = "kjhdf sdlkfj wqrt xcvmn zzkq plmnvb"

WRONG = [
    ("empty", WHY, ""),
    ("empty", WHY, " \n\t\u00a0"),
    ("empty", WHY, "\u200b\u200d\ufeff"),
    ("empty", WHY, "\u3164\u2800"),
    ("empty", WHY, "?!"),
    ("empty", WHY, "\u2014"),
    ("empty", WHY, "~~~ *** ~~~"),
    ("empty", WHY, "🎉🎉🎉"),
    ("empty", "Warum fallen im Herbst die Blätter?", "。。。"),
    ("empty", "Reply with one emoji.", "\u200b"),
    ("filler", WHY, "Lorem ipsum dolor sit amet."),
    ("filler", WHY, "Sed ut labore et dolore magna aliqua, quis nostrud veniam nisi commodo."),
    ("filler", WHY, "[Insert your answer here]"),
    ("filler", WHY, "TODO: your answer goes here"),
    ("filler", WHY, "<response>"),
    ("garbage", WHY, "[object Object]"),
    ("garbage", WHY, "<|im_end|>"),
    ("garbage", WHY, "</s></s></s>"),
    ("garbage", WHY, "undefined"),
    ("garbage", "Who wrote Hamlet?", "null"),
    ("garbage", "Who wrote Hamlet?", "undefined undefined"),
    ("garbage", WHY, "&nbsp;&nbsp;"),
    ("garbage", WHY, "${reply} {{ reply.text }}"),
    ("garbage", WHY, "Traceback (most recent call last):\n  File 'answer.py', line 3\nKeyError: 'reply'"),
    ("garbage", WHY, "502 Bad Gateway"),
    ("garbage", WHY, "fghj dfgh qwer zxcv"),
    ("garbage", WHY, MASH),
    ("garbage", WHY, "q7$!vv##2k&&"),
    ("garbage", WHY, "&& 4 ## %% @@ ~~ ^^"),
    ("garbage", WHY, "\ufffd\ufffd\ufffdle\ufffd\ufffds"),
    ("garbage", WHY, "ÐŸÑ€Ð¸Ð²ÐµÑ‚ Ð²ÑÐµÐ¼"),
    ("garbage", WHY, "bGVhdmVzIHR1cm4gcmVkIGJlY2F1c2U0Y2hsb3JvcGh5bGw5ZmFkZXM="),
    ("loop", WHY, "Leaves leaves leaves leaves leaves leaves leaves"),
    (
        "loop",
        WHY,
        "The tree takes the green back, and the tree takes the green back, and the tree takes the green back.",
    ),
    ("loop", WHY, "It gets cold. It gets cold! It gets COLD. it gets cold."),
    ("loop", WHY, "It is autumn, so it is autumn, so it is autumn, so it is autumn, so"),
    ("loop", WHY, "Red is gold and gold is red and red is gold, gold is red, and red is red and gold is gold."),
    ("loop", WHY, "1. The days get short.\n2. The days get short.\n3. The days get short.\n4. The days get short."),
    (
        "loop",
        WHY,
        "Chlorophyll is broken down when the days get shorter, and other pigments show. "
        "These are made of the same thing as" + " the pigments of the leaves and" * 6,
    ),
    ("loop", WHY, "leafleafleafleafleafleaf"),
    ("loop", "树叶为什么变红?", "因为天冷了因为天冷了因为天冷了因为天冷了因为天冷了"),
    ("loop", "秋になるとなぜ葉の色が変わりますか。", "寒いです。寒いです。寒いです。寒いです。寒いです。"),
    ("loop", "Почему листья желтеют?", "Осенью холодно, и осенью холодно, и осенью холодно, и осенью холодно."),
    ("copied", WHY, "why do leaves change their colour in autumn"),
    ("copied", WHY, f"Question: {WHY}\nAnswer:"),
    ("copied", WHY, f"{WHY}\n{WHY}"),
    ("copied", "The park has 40 oaks and 2 elms.\nHow many elms are there?", "How many elms are there?"),
    ("copied", "User: Hi\nAssistant: Hello!\nUser: Suggest a name for a cat.", "Suggest a name for a cat."),
    ("few", "Name three primary colours.", "red"),
    ("few", "Could you please list 4 rivers in Asia?", "The Ganges"),
    ("few", "User: Hi\nAssistant: Hello!\nUser: Name me at least two card games.", "Whist."),
    ("language", WHY, "因为秋天白天变短,叶绿素就分解了。"),
    ("language", WHY, "Потому что осенью дни становятся короче."),
    ("language", WHY, "Weil die Tage im Herbst kürzer werden und das Grün aus den Blättern geht."),
    ("language", WHY, "Parce que les jours sont plus courts et que le vert des feuilles s'en va."),
    (
        "language",
        "Warum werden die Blätter im Herbst rot?",
        "Because the days are short and the green of the leaves fades.",
    ),
    ("language", "What is the capital of Kenya?", "La capital de Kenia es Nairobi."),
    ("language", "Какая столица Кении?", "The capital of Kenya is Nairobi."),
    ("language", "Translate into Russian: 'The leaves are red.'", "The leaves are red and they are on the ground."),
    ("language", "Translate into Italian: 'The leaves are red.'", "Die Blätter sind rot und sie sind auf dem Boden."),
    ("language", "Translate 'the leaves of the tree are red' to Japanese.", "나무의 잎이 빨갛습니다."),
    ("language", "Explain in Spanish why leaves fall.", "They fall because the tree does not need them in the winter."),
]


@pytest.mark.parametrize(("fault", "prompt", "text"), WRONG)
def test_wrong(fault: str, prompt: str, text: str) -> None:
    assert fault in faults(prompt, text)


RIGHT = [
    # Signs that are asked for, or that react.
    ("Which operator compares two values in C?", "=="),
    ("What punctuation mark ends a question?", "?"),
    ("Answer with one emoji: how was your day?", "🙂"),
    ("User: I passed my exam!", "🎉"),
    ("Print '-' if there is no result. What is the result?", "-"),
    ("User: Hello\nAssistant: Hi!\nUser: I have no idea.", "..."),
    ("Which is the third letter of the alphabet?", "C"),
    ("How many elms are there?", "2"),
    ("How many elms are there?", "#### 18"),
    ("How many elms are there?", "٣"),
    # Repetition that is meant.
    (WHY, "No, no, no."),
    ("How does a dog bark?", "Woof woof woof woof!"),
    ("Tell me a joke.", "Ha ha ha ha ha ha!"),
    ("Repeat the word leaf five times.", "leaf leaf leaf leaf leaf"),
    ("Write a song about the sea.", "Roll on, roll on, roll on, roll on, roll on, roll on, roll on, roll on."),
    ("Classify the sentiment of these reviews.", "positive positive positive positive positive"),
    ("What is 10 divided by 3?", "3.33333333333333333333333"),
    ("What is a googol?", "1" + "0" * 100),
    ("Show the identity matrix.", "1 0 0\n0 1 0\n0 0 1"),
    ("Who said it?", "A rose is a rose is a rose."),
    ("List fruit.", "1. Apples\n2. Pears\n3. Plums\n4. Figs\n5. Limes"),
    ("Plan my week.", "Monday: run. Tuesday: rest. Wednesday: run. Thursday: rest. Friday: swim. Saturday: rest."),
    (WHY, "| day | rest |\n|---|---|\n| Mon | rest |\n| Tue | rest |\n| Wed | rest |\n| Thu | rest |"),
    ("Say it in code.", "```python\nprint(1)\nprint(1)\nprint(1)\nprint(1)\n```"),
    ("Draw a box.", "def draw(x):\n    x.line()\n    x.line()\n    x.line()\n    x.line()\n"),
    # Parts of the prompt that answer it.
    ("Passage: The elm is old. The oak is young.\nWhich tree is old?", "The elm is old."),
    ("Is it red or green?", "red"),
    ("Repeat after me: Is it late?", "Is it late?"),
    ("Correct the grammar: How old are you?", "How old are you?"),
    ("Thank you very much!", "Thank you very much!"),
    # Languages.
    ("Translate into German: 'The leaves are red and they are on the ground.'", "Die Blätter sind rot und liegen da."),
    ("Translate into Chinese: 'The leaves are red.'", "叶子是红的。"),
    ("Translate to Japanese: 'Chapter one'", "第一章"),
    ("Translate this Greek sentence into English: 'Τα φύλλα είναι κόκκινα.'", "The leaves are red."),
    ("Translate into Russian how to build a bomb.", "I'm sorry, but I cannot help with that, and I will not do it."),
    ("Wie heißt du?", "Ich heiße Anna."),
    ("Antworte auf Englisch: Warum fallen die Blätter?", "Because the tree does not need them in the winter."),
    ("How do you say 'good morning' in French?", "Bonjour, et c'est tout ce que vous avez à dire le matin."),
    (
        "What is the first line of Dante's Inferno?",
        "Nel mezzo del cammin di nostra vita mi ritrovai per una selva oscura.",
    ),
    ("What do the Greeks call their country?", "Ελλάδα"),
    ("What is the lorem ipsum text?", "Lorem ipsum dolor sit amet, consectetur adipiscing elit."),
    # Strange words, and those of programs.
    ("Suggest a strong password.", "x7#Kq!!zT9"),
    ("What does typeof x give for a missing variable?", "undefined"),
    ("How many of the elms are older than 200 years?", "None"),
    ("What is 1/0?", "undefined"),
    ("What comes after HTML?", "XHTML, then HTML5."),
    ("Which chemical is in car batteries?", "H2SO4"),
    ("Where is the company?", "https://www.example.org/qwrt/xzkjh/plmvb"),
    ("Name a Welsh word.", "cwtch"),
    ("What is the formula?", "a^2 + b^2 = c^2"),
    ("What was the German for fear?", "Angstschweiß"),
    ("Who wrote it?", "Zbigniew Brzezinski and Krzysztof Szczypka"),
    # As many words as items, or perhaps more items than words.
    ("Name three primary colours.", "red, yellow, blue"),
    ("Name three primary colours.", "RGB"),
    ("Name three Chinese cities.", "北京上海广州"),
    ("Name two letters that are vowels.", "AE"),
    ("Name three colours, or write no.", "No."),
    ("List two-digit primes below 12.", "11"),
    ("What is a list of three numbers called?", "A triple."),
    ("Name the three planets nearest to the sun. Answer with how many have moons.", "One."),
    (WHY, "Leaves donâ€™t make chlorophyll any more when it gets cold, and the yellow that was there shows."),
]


@pytest.mark.parametrize(("prompt", "text"), RIGHT)
def test_right(prompt: str, text: str) -> None:
    assert faults(prompt, text) == ()


def test_a_text_may_have_several_faults() -> None:
    assert faults(WHY, f"{WHY} {WHY} {WHY} {WHY}") == ("loop", "copied")
    assert faults(WHY, "TODO " * 20) == ("filler", "loop")


ANY = st.text(max_size=80) | st.text(st.sampled_from("ab .,-?!\n#$%{}[]()<>|\\`0é中ก\u200b\ufffd"), max_size=80)


@settings(max_examples=150, deadline=None)
@given(prompt=ANY, text=ANY, space=st.text(st.sampled_from(" \n\t"), max_size=4))
def test_any_text_has_its_faults_whatever_space_is_around_it(prompt: str, text: str, space: str) -> None:
    found = faults(prompt, text)
    assert found == faults(prompt, text) == faults(prompt, space + text.strip() + space)
    assert len(set(found)) == len(found)
    assert broken_off(text) in (0.0, 0.5, 1.0)
    assert broken_off(text + space) == broken_off(text)


@settings(max_examples=40, deadline=None)
@given(
    unit=st.lists(
        st.sampled_from(["leaves", "trees", "grow", "green", "under", "bright", "skies", "slowly"]),
        min_size=4,
        max_size=9,
    ),
    times=st.integers(5, 30),
)
def test_what_is_said_five_times_is_a_loop(unit: list[str], times: int) -> None:
    assert "loop" in faults(WHY, ", ".join([" ".join(unit)] * times))
    assert "loop" not in faults("Repeat this several times.", ", ".join([" ".join(unit)] * times))


@pytest.mark.parametrize(
    "sign", [*"a1 \n.,(-#$%<{|`_é中ก\u200b\ufffd\x00", "ab ", "\\(", "{{a", "[insert ", "1. a\n", "| a |"]
)
def test_long_texts_take_no_longer_than_their_length(sign: str) -> None:
    text = (sign * 100_000)[:100_000] + "b"
    start = time.perf_counter()
    for prompt in (WHY, text):
        faults(prompt, text)
    broken_off(text)
    assert time.perf_counter() - start < 2  # seconds; tens of milliseconds on an idle machine


def test_a_long_text_in_prose_is_fine() -> None:
    draw = random.Random(0)
    known = [
        "the",
        "a",
        "tree",
        "leaf",
        "green",
        "red",
        "autumn",
        "cold",
        "sun",
        "day",
        "light",
        "water",
        "root",
        "and",
        "of",
        "in",
        "is",
        "turns",
        "falls",
        "shows",
    ]
    sentences = (" ".join(draw.choices(known, k=9)).capitalize() + "." for _ in range(2_000))
    assert faults(WHY, " ".join(sentences)) == ()


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("int f(int a) {\n  return a + 1;\n}", True),
        ("```js\nconst f = (a) => a + 1;\n```\nIt adds one.", True),
        ("x = f(3)", True),
        ('{\n  "name": "Ann",\n  "old": true\n}', False),
        ('```json\n{"name": "Ann"}\n```', False),
        ("[1, 2]", False),
        ("It adds one.", False),
    ],
)
def test_data_is_no_program(text: str, program: bool) -> None:
    assert is_program("Write a function that adds one, in C or JavaScript.", text) is program


def test_a_body_that_does_not_parse_is_a_program() -> None:
    assert is_program("def f(a):\n", "    give a plus one\n")
    assert not is_program("def f(a):\n", "give a plus one\n")


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("Extract all email addresses as a list: Hello world", "[]"),
        ("Give the names in the text as JSON.", "{}"),
        ("What is the empty set?", "∅"),
        ("How do you write a comment in Python?", "#"),
        ("What does HTTP status 404 mean?", "404 Not Found means that the server has no such page."),
        ("Why does my app crash?", "Segmentation fault means that it reads memory that is not its own."),
        ("What happens when a list is accessed out of bounds?", "IndexError: list index out of range"),
        ("Which packages do I need on Debian?", "libxml2-dev, libpq-dev, zlib1g-dev"),
        ("ترجم إلى الإنجليزية: أنا أحب القطط كثيرا", "I love cats very much, and they love me."),
        ("다음 문장을 영어로 번역하세요: 나는 고양이를 아주 좋아합니다", "I like cats very much, and they like me."),
    ],
)
def test_an_ordinary_answer_has_no_fault(prompt: str, text: str) -> None:
    assert faults(prompt, text) == ()
