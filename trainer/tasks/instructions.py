"""Answers to instructions and questions, compared by people."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from flame_rank.errors import UserError
from trainer.tasks.base import Comparison, files, majority, read_json, read_lines

_VOTE = {1: 1, 2: -1, 0: 0}  # the first better, the second better, a tie


def pandalm(data: Path) -> Iterator[Comparison]:
    """PandaLM's test set (Apache-2.0): three annotators, 0 = tie, 1 or 2 = the better response; ties are left out."""
    for record in read_json(data / "extra_pandalm_testset" / "testset-v1.json"):
        verdict = majority([_VOTE[record[f"annotator{i}"]] for i in (1, 2, 3)])
        if verdict:
            prompt = "\n".join(filter(None, [record["instruction"], record["input"]]))
            pair = str(record["response1"]), str(record["response2"])  # one answer is a bare true in the release
            better, worse = pair if verdict > 0 else pair[::-1]
            yield Comparison(prompt=prompt, better=better, worse=worse)


def prd_vicuna(data: Path) -> Iterator[Comparison]:
    """PRD's Vicuna80 (MIT): nine models' answers to 80 questions; votes 1, 2 and 3 = tie, several a pair."""
    folder = data / "prd_vicuna80"
    answers: dict[str, dict[int, str]] = {}
    for path in files(folder / "generations", "answer_*.jsonl"):
        answers[path.stem] = {r["question_id"]: r["text"] for r in read_lines(path)}
    for path in files(folder / "qlora_generations", "*.jsonl"):
        size = path.name.split("b-")[0].replace("30", "33")  # the ratings call the 30b model 33b
        answers[f"answer_guanaco-{size}b"] = {r["question_id"]: r["generation"] for r in read_lines(path)}
    votes: dict[tuple[int, str, str, str], list[int]] = defaultdict(list)
    for path in files(folder / "ratings-human", "*.jsonl"):
        first, second = path.name.split("-human-reviewer")[0].split("-vs-")
        for name in (first, second):
            if name not in answers:
                raise UserError(f"{path}: {name}.jsonl, whose answers it rates, is not there")
        for record in read_lines(path):
            vote = {1: 1, 2: -1, 3: 0}[record["score"]]
            sign = 1 if first < second else -1
            key = record["question_id"], record["text"], *sorted((first, second))
            votes[key].append(sign * vote)
    for (question, text, first, second), cast in votes.items():
        verdict = majority(cast)
        pair = answers[first].get(question, ""), answers[second].get(question, "")
        if verdict and all(pair):
            better, worse = pair if verdict > 0 else pair[::-1]
            yield Comparison(prompt=text, better=better, worse=worse)


def fine_grained_rlhf(data: Path) -> Iterator[Comparison]:
    """Fine-grained RLHF's development part (Apache-2.0): four answers from passages, six preferences of 0, 1, 2."""
    for record in read_json(data / "fine_grained_rlhf" / "dev_feedback.json"):
        passages = "\n".join(" ".join(passage[1:3]) for passage in record["passages"][:3])
        prompt = f"{record['question']}\n\n{passages}"
        answers = [record[f"prediction {i}"] for i in (1, 2, 3, 4)]
        for (i, j), preferred in zip(combinations(range(4), 2), record["preference"], strict=True):
            if verdict := _VOTE[preferred]:
                better, worse = (i, j) if verdict > 0 else (j, i)
                yield Comparison(prompt=prompt, better=answers[better], worse=answers[worse])
