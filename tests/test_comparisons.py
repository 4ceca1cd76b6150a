"""The tasks: a release's records in, comparisons out."""

import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from flame_rank.errors import UserError
from trainer.comparisons import COMPARISONS, Comparison, files, majority, read_json, read_lines

DATA = Path(__file__).parents[1].parent / "shared" / "data" / "train.tar.xz"


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_lines(path: Path, records: Iterable[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def told(name: str, data: Path) -> list[tuple[str, str, str]]:
    """A task's comparisons as (prompt, better, worse)."""
    return [(c.prompt, c.better, c.worse) for c in COMPARISONS[name](data)]


def test_majority() -> None:
    assert majority([1, 1, -1]) > 0 > majority([-1, 0, 0])
    assert majority([1, 0, -1]) == 0


def test_pandalm(tmp_path: Path) -> None:
    def record(first: object, second: object, votes: tuple[int, int, int], given: str = "") -> dict[str, object]:
        annotators = {f"annotator{i}": vote for i, vote in enumerate(votes, 1)}
        return {"instruction": "Say it.", "input": given, "response1": first, "response2": second, **annotators}

    write(
        tmp_path / "extra_pandalm_testset" / "testset-v1.json",
        [
            record("one", "two", (1, 1, 2), "Of this."),
            record("one", "two", (2, 0, 0)),
            record("one", "two", (1, 2, 0)),
            record("one", "two", (0, 0, 0)),
            record(True, "Yes.", (2, 2, 2)),
        ],
    )
    assert told("pandalm", tmp_path) == [
        ("Say it.\nOf this.", "one", "two"),
        ("Say it.", "two", "one"),
        ("Say it.", "Yes.", "True"),
    ]


def write_prd(folder: Path, ratings: dict[str, list[tuple[int, int]]]) -> None:
    """Three models' answers to two questions (gpt4 has answered the first alone) and the given votes."""
    asked = {1: "Why?", 2: "How?"}
    for model, questions in (("bard", (1, 2)), ("gpt4", (1,))):
        write_lines(
            folder / "generations" / f"answer_{model}.jsonl",
            [{"question_id": q, "model_id": model, "text": f"{model} {q}"} for q in questions],
        )
    write_lines(
        folder / "qlora_generations" / "30b-guanaco-vicuna-generations-topp0.9-temp0.7.jsonl",
        [{"question_id": q, "text": asked[q], "generation": f"guanaco {q}"} for q in asked],
    )
    for name, votes in ratings.items():
        write_lines(
            folder / "ratings-human" / f"{name}-human-reviewer_threeclass.jsonl",
            [{"question_id": q, "text": asked[q], "score": score} for q, score in votes],
        )


def test_prd_vicuna(tmp_path: Path) -> None:
    folder = tmp_path / "prd_vicuna80"
    ratings = {
        # Both orders of a pair count as one: 1 + 1 - 1 for bard on the first question, 1 - 1 on the second.
        "answer_bard-vs-answer_gpt4": [(1, 1), (1, 3)],
        "answer_gpt4-vs-answer_bard": [(1, 2), (1, 1)],
        "answer_bard-vs-answer_guanaco-33b": [(1, 2), (1, 2), (1, 1), (2, 1)],
        "answer_guanaco-33b-vs-answer_bard": [(2, 1)],
        "answer_guanaco-33b-vs-answer_gpt4": [(1, 1), (2, 1)],
    }
    write_prd(folder, ratings)
    assert sorted(told("prd-vicuna", tmp_path)) == [
        ("Why?", "bard 1", "gpt4 1"),
        ("Why?", "guanaco 1", "bard 1"),
        ("Why?", "guanaco 1", "gpt4 1"),
    ]


def test_prd_vicuna_says_whose_answers_are_missing(tmp_path: Path) -> None:
    write_prd(tmp_path / "prd_vicuna80", {"answer_bard-vs-answer_claude": [(1, 1)]})
    with pytest.raises(UserError, match=r"answer_bard-vs-answer_claude.*: answer_claude\.jsonl"):
        told("prd-vicuna", tmp_path)
    for path in (tmp_path / "prd_vicuna80" / "ratings-human").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match="ratings-human"):
        told("prd-vicuna", tmp_path)


def test_fine_grained_rlhf(tmp_path: Path) -> None:
    passages = [[f"Title {i}", f"first {i}", f"second {i}", f"third {i}"] for i in range(4)]
    answers = {f"prediction {i}": f"answer {i}" for i in (1, 2, 3, 4)}
    record = {"question": "Who?", "passages": passages, **answers, "preference": [0, 1, 2, 0, 2, 1]}
    write(tmp_path / "fine_grained_rlhf" / "dev_feedback.json", [record])
    prompt = "Who?\n\nfirst 0 second 0\nfirst 1 second 1\nfirst 2 second 2"
    assert told("fine-grained-rlhf", tmp_path) == [
        (prompt, "answer 1", "answer 3"),  # the pairs are 12, 13, 14, 23, 24, 34
        (prompt, "answer 4", "answer 1"),
        (prompt, "answer 4", "answer 2"),
        (prompt, "answer 3", "answer 4"),
    ]


def test_fine_grained_rlhf_has_six_preferences(tmp_path: Path) -> None:
    answers = {f"prediction {i}": "answer" for i in (1, 2, 3, 4)}
    record = {"question": "Who?", "passages": [], **answers, "preference": [1, 1, 1, 1, 1]}
    write(tmp_path / "fine_grained_rlhf" / "dev_feedback.json", [record])
    with pytest.raises(ValueError, match="shorter"):
        told("fine-grained-rlhf", tmp_path)


def test_hh_harmless(tmp_path: Path) -> None:
    talk = "\n\nHuman: May I?\n\nAssistant: Tell me more.\n\nHuman: This.\n\nAssistant:"
    write_lines(
        tmp_path / "hh_rlhf_harmless" / "harmless-base_test.jsonl",
        [
            {"chosen": f"{talk} Better not.", "rejected": f"{talk} Sure.\n\nGo on."},
            {"chosen": f"{talk} Better not.", "rejected": f"{talk.replace('more', 'less')} Sure."},
            {"chosen": f"{talk} Same.", "rejected": f"{talk} Same."},
        ],
    )
    prompt = "Human: May I?\n\nAssistant: Tell me more.\n\nHuman: This."
    assert told("hh-harmless", tmp_path) == [(prompt, "Better not.", "Sure.\n\nGo on.")]


def test_gsm8k(tmp_path: Path) -> None:
    models = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")

    def record(question: str, right: str) -> dict[str, object]:
        solutions = {m: {"is_correct": m in right.split(), "solution": m} for m in models}
        return {"question": question, "ground_truth": "#### 4", **solutions}

    write_lines(
        tmp_path / "gsm8k" / "example_model_solutions.jsonl",
        [record("2 + 2?", "6b_verification 175b_finetuning"), record("none?", ""), record("all?", " ".join(models))],
    )
    assert told("gsm8k", tmp_path) == [
        ("2 + 2?", "6b_verification", "6b_finetuning"),
        ("2 + 2?", "6b_verification", "175b_verification"),
        ("2 + 2?", "175b_finetuning", "6b_finetuning"),
        ("2 + 2?", "175b_finetuning", "175b_verification"),
    ]


def test_summeval(tmp_path: Path) -> None:
    def system(summary: str, *scores: float) -> dict[str, object]:
        axes = ("coherence", "consistency", "fluency", "relevance")
        return {"sys_summ": summary, "scores": dict(zip(axes, scores, strict=True))}

    systems = {
        "M0": system("good", 4, 5, 5, 4),  # 4.5
        "M1": system("near", 4, 4, 4, 4.5),  # 4.125
        "M2": system("half", 4, 4, 4, 4),  # 4.0: 0.5 from the first, which counts
        "M3": system("good", 1, 1, 1, 1),  # the same text as the first
    }
    write(
        tmp_path / "summeval" / "bartscore_SummEval_data.converted.json",
        {"doc": {"src": "A text.", "ref_summs": [], "sys_summs": systems}},
    )
    assert told("summeval", tmp_path) == [
        ("Summarize:\nA text.", "good", "half"),
        ("Summarize:\nA text.", "near", "good"),
        ("Summarize:\nA text.", "half", "good"),
    ]


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        told(name, tmp_path)
    assert Path(caught.value.filename).is_relative_to(tmp_path)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"x": "\u2028 a line separator is no end of a line"}\n\n{"x": \n')
    with pytest.raises(UserError, match=r"a\.jsonl:3: not whole JSON"):
        read_lines(tmp_path / "a.jsonl")
    (tmp_path / "b.json").write_text("[1,")
    with pytest.raises(UserError, match=r"b\.json: not whole JSON"):
        read_json(tmp_path / "b.json")
    (tmp_path / "c.json").write_bytes(b'"\xff"')
    with pytest.raises(UserError, match=r"c\.json: not UTF-8"):
        read_json(tmp_path / "c.json")


def test_files_are_in_order_and_at_least_one(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", "c.txt"):
        (tmp_path / name).touch()
    assert files(tmp_path, "*.json") == [tmp_path / "a.json", tmp_path / "b.json"]
    with pytest.raises(FileNotFoundError, match=r"\*\.csv"):
        files(tmp_path, "*.csv")


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The releases themselves."""
    if not DATA.exists():
        pytest.skip(f"{DATA} is not there")
    folder = tmp_path_factory.mktemp("released")
    wanted = (
        "train/extra_pandalm_testset/testset-v1.json",
        "train/prd_vicuna80/",
        "train/fine_grained_rlhf/dev_feedback.json",
        "train/hh_rlhf_harmless/harmless-base_test.jsonl",
        "train/gsm8k/example_model_solutions.jsonl",
        "train/summeval/bartscore_SummEval_data.converted.json",
    )
    with tarfile.open(DATA) as archive:
        members = [m for m in archive if m.isfile() and m.name.startswith(wanted)]
        archive.extractall(folder, members, filter="data")
    return folder / "train"


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("pandalm", 914),
        ("prd-vicuna", 2289),
        ("fine-grained-rlhf", 2616),
        ("hh-harmless", 2307),
        ("gsm8k", 2429),
        ("summeval", 5834),
    ],
)
def test_reads_the_releases(name: str, count: int, released: Path) -> None:
    comparisons = list(COMPARISONS[name](released))
    assert len(comparisons) == count
    assert all(isinstance(c, Comparison) and c.prompt and c.better != c.worse for c in comparisons)
