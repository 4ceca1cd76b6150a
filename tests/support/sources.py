"""Small data sets for every source of the default judge: the releases' fixtures, and in one data set of each source as
many records of its upstream format as are asked for."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from releases import make

PADDING = "which is how it stands in the text that was given"  # more than a final answer has


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_lines(path: Path, records: Iterable[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def write_csv(path: Path, records: Sequence[Mapping[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, records[0].keys())
        table.writeheader()
        table.writerows(records)


def write_parquet(path: Path, records: list[dict[str, object]]) -> None:
    import pyarrow
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(records), path)


def pandalm(data: Path, texts: Sequence[str]) -> None:
    votes = {f"annotator{i}": 1 for i in (1, 2, 3)}
    record = {"input": "", "response1": f"It is better, {PADDING}.", "response2": f"It is the, {PADDING}.", **votes}
    write_json(data / "extra_pandalm_testset" / "testset-v1.json", [{"instruction": text, **record} for text in texts])


def prd_vicuna(data: Path, texts: Sequence[str]) -> None:
    prd, asked = data / "prd_vicuna80", dict(enumerate(texts))
    for path in prd.rglob("*.jsonl"):
        path.unlink()
    guanaco = "30b-guanaco-vicuna-generations-topp0.9-temp0.7"
    for name, field in (("answer_bard", "text"), ("answer_gpt4", "text"), (guanaco, "generation")):
        folder = prd / ("generations" if field == "text" else "qlora_generations")
        answers = [{"question_id": q, "text": text, field: f"{name}, {PADDING}. {q}"} for q, text in asked.items()]
        write_lines(folder / f"{name}.jsonl", answers)
    for pair in ("bard-vs-answer_gpt4", "bard-vs-answer_guanaco-33b", "gpt4-vs-answer_guanaco-33b"):
        votes = [{"question_id": q, "text": text, "score": 1} for q, text in asked.items()]
        write_lines(prd / "ratings-human" / f"answer_{pair}-human-reviewer_threeclass.jsonl", votes)


def fine_grained_rlhf(data: Path, texts: Sequence[str]) -> None:
    answers = {f"prediction {i}": f"It is {i}, {PADDING}." for i in (1, 2, 3, 4)}
    feedback = {"errors": [], "missing-info": [], "corrected-prediction": answers["prediction 1"]}
    more = {**answers, "gold": "It.", "feedback": feedback, "preference": [1, 1, 2, 0, 2, 1]}
    records = [{"question": text, "passages": [["Title", f"For {text}."]], **more} for text in texts]
    write_json(data / "fine_grained_rlhf" / "train_feedback.json", records)


def hh_harmless(data: Path, texts: Sequence[str]) -> None:
    folder = data / "hh_rlhf_harmless" / "harmless-base"
    (folder / "train.jsonl.gz").unlink()
    talks = [f"\n\nHuman: {text}\n\nAssistant:" for text in texts]
    pairs = [{"chosen": f"{talk} No, {PADDING}.", "rejected": f"{talk} Yes, {PADDING}."} for talk in talks]
    write_lines(folder / "train.jsonl", pairs)


def gsm8k(data: Path, texts: Sequence[str]) -> None:
    answers = {"6b_finetuning": 2, "6b_verification": 3, "175b_finetuning": 3, "175b_verification": 4}
    models = {
        model: {"is_correct": n == 3, "solution": f"By {model} it is {n}, {PADDING}.\nA: {n}"}
        for model, n in answers.items()
    }
    records = [{"question": text, "ground_truth": f"So, {PADDING}.\nA: 3", **models} for text in texts]
    write_lines(data / "gsm8k" / "example_model_solutions.jsonl", records)


def prm800k(data: Path, texts: Sequence[str]) -> None:
    def step(*rated: tuple[str, int]) -> dict[str, object]:
        completions = [{"text": text, "rating": rating, "flagged": None} for text, rating in rated]
        return {"completions": completions, "human_completion": None, "chosen_completion": 0}

    steps = [step(("We add.", 1), ("We divide.", -1)), step(("# Answer\n\n3", 1), ("# Answer\n\n2", -1))]
    marks = {"generation": None, "is_quality_control_question": False, "is_initial_screening_question": False}
    label = {"steps": steps, "total_time": 1, "finish_reason": "solution"}
    write_lines(
        data / "prm800k_phase1" / "prm800k" / "data" / "phase1_train.jsonl",
        [{**marks, "question": {"problem": text, "ground_truth_answer": "3"}, "label": label} for text in texts],
    )


def summeval(data: Path, texts: Sequence[str]) -> None:
    axes = ("coherence", "consistency", "fluency", "relevance")
    numbers = {f"{n:040x}": text for n, text in enumerate(texts)}
    write_parquet(
        data / "summeval" / "cnn_dailymail" / "test-00000-of-00001.parquet",
        [{"article": text, "highlights": text, "id": number} for number, text in numbers.items()],
    )
    write_lines(
        data / "summeval" / "model_annotations.aligned.jsonl",
        [
            {
                **{"id": f"cnn-test-{number}", "decoded": f"Summary {n}, {PADDING}.", "model_id": f"M{n}"},
                **{"expert_annotations": [dict.fromkeys(axes, n)] * 3, "turker_annotations": [], "references": []},
                "filepath": f"cnndm/cnn/stories/{number}.story",
            }
            for number in numbers
            for n in (1, 3, 5)
        ],
    )


def summary_facts(data: Path, texts: Sequence[str]) -> None:
    edits = {"original_summary": "It is so.", "edit_types": [], "split": "test"}
    records = [
        {"id": f"news_{n}_{label}", "doc": text, "summary": f"It is {label}.", "label": label, **edits}
        for n, text in enumerate(texts)
        for label in (1, 0)
    ]
    write_json(data / "extra_summedits" / "summedits_news.json", records)


def lens(data: Path, texts: Sequence[str]) -> None:
    records = [
        {"original_id": n, "original": text, "generation": f"It is {rating}.", "system": f"S{rating}"}
        | {"sentence_type": "Splittings", **{f"rating_{i}": rating for i in (1, 2, 3)}}
        for n, text in enumerate(texts)
        for rating in (90, 60, 50)
    ]
    write_csv(data / "lens" / "simpeval_2022.csv", records)


def lens_aspects(data: Path, texts: Sequence[str]) -> None:
    records = [
        {"WorkerId": worker, "Input.id": n, "Input.original": text, "Input.simplified": f"It is {rating}."}
        | {"Input.system": f"S{rating}", "Answer.adequacy": rating, "Answer.fluency": rating, "Answer.simplicity": 0}
        for n, text in enumerate(texts)
        for rating in (5, 1)
        for worker in (1, 2, 3)
    ]
    write_csv(data / "lens" / "simplikert_2022.csv", records)


def dialogue(data: Path, texts: Sequence[str]) -> None:
    aspects = ("understandability", "naturalness", "coherence", "engagingness", "groundedness", "overall")
    records = [
        {
            "source": f"{text}\n",
            "system_id": str(rating),
            "system_output": f"i rate it {rating} .",
            "context": "a fact\n",
        }
        | {"scores": dict.fromkeys(aspects, rating)}
        for text in texts
        for rating in (5.0, 1.0)
    ]
    write_json(data / "extra_dialogue_d2t" / "unieval_topical_chat.json", records)


def dialogue_facts(data: Path, texts: Sequence[str]) -> None:
    turn = {"round": 1, "topic": "It", "dodeca_response": "it is so .", "memnet_response": "it is not ."}
    labels = {"knowledge": "It is so.", "gold": "So.", "dodeca_label": 0, "memnet_label": 1}
    records = [{"": n, "episode_idx": n, "message": text, **turn, **labels} for n, text in enumerate(texts)]
    write_csv(data / "q2" / "cross_annotation.csv", records)


def data_to_text(data: Path, texts: Sequence[str]) -> None:
    records = [
        {"doc_id": n, "source": f"inform(name='{text}')", "reference": text, "system_output": f"{text} is {rating} ."}
        | {"scores": dict.fromkeys(("informativeness", "naturalness", "overall"), rating)}
        for n, text in enumerate(texts)
        for rating in (6.0, 2.0)
    ]
    write_json(data / "extra_dialogue_d2t" / "unieval_sfres.json", records)


def inference(data: Path, texts: Sequence[str]) -> None:
    records = [
        {"pairID": f"{n}{label}", "gold_label": label, "Sentence1": text, "Sentence2": f"It is {label[0]}."}
        | {"Explanation_1": f"Since it is {label}.", "WorkerId": "W"}
        for n, text in enumerate(texts)
        for label in ("entailment", "neutral", "contradiction")
    ]
    write_csv(data / "esnli" / "esnli_train_1.csv", records)


def biographies(data: Path, texts: Sequence[str]) -> None:
    (file,) = (data / "wikibio_hallucination").iterdir()
    labels = ["accurate", "minor_inaccurate", "major_inaccurate"]
    sentences = [f"It is {label}." for label in labels]
    more = {"gpt3_sentences": sentences, "annotation": labels, "gpt3_text_samples": ["It."]}
    write_parquet(
        file,
        [
            {"gpt3_text": " ".join(sentences), "wiki_bio_text": text, "wiki_bio_test_idx": n, **more}
            for n, text in enumerate(texts)
        ],
    )


# Of each source: what writes it, and the prompt that a text becomes.
WRITERS: Mapping[str, tuple[Callable[[Path, Sequence[str]], None], str]] = {
    "pandalm": (pandalm, "{0}"),
    "prd-vicuna": (prd_vicuna, "{0}"),
    "fine-grained-rlhf": (fine_grained_rlhf, "{0}\n\nTitle\nFor {0}."),
    "hh-harmless": (hh_harmless, "Human: {0}"),
    "gsm8k": (gsm8k, "{0}"),
    "prm800k": (prm800k, "{0}"),
    "summeval": (summeval, "Summarize:\n{0}"),
    "summary-facts": (summary_facts, "Summarize:\n{0}"),
    "lens": (lens, "Simplify:\n{0}"),
    "lens-aspects": (lens_aspects, "Simplify:\n{0}"),
    "dialogue": (dialogue, "a fact\n\n{0}"),
    "dialogue-facts": (dialogue_facts, "It is so.\n\n{0}"),
    "data-to-text": (data_to_text, "Say this in words:\ninform(name='{0}')"),
    "inference": (inference, "{0}\n\nWhat follows from this?"),
    "biographies": (biographies, "Tell of this person's life:\n{0}"),
}


def write(data: Path, texts: Callable[[str, str], Sequence[str]]) -> Path:
    """Writes all of them under a folder, which serves as --data.

    Args:
      texts: from the name of a source and the form of its prompts to the texts that it is to hold.
    """
    make(data)
    for name, (writer, form) in WRITERS.items():
        writer(data, texts(name, form))
    return data
