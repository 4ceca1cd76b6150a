"""Human judgements as comparisons: one function a data set, from the files of its release.

The default judge learns from permissive data only. The list at the end is all of it that is read today.
"""

import errno
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from flame_rank.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Of two answers to one prompt, which the annotators held to be the better one."""

    prompt: str
    better: str
    worse: str


def files(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder whose names match, in order; one at least.

    Raises:
      FileNotFoundError: there is none.
    """
    found = sorted(folder.glob(pattern))
    if not found:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder / pattern))
    return found


def read_lines(path: Path) -> list[Any]:
    """The records of a JSONL file.

    Raises:
      UserError: a line is not JSON.
    """
    lines = enumerate(_text(path).split("\n"), start=1)
    return [_decode(line, f"{path}:{number}") for number, line in lines if line.strip()]


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
      UserError: it is not JSON.
    """
    return _decode(_text(path), str(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from error


def _decode(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"{where}: not whole JSON ({error})") from error


def majority(votes: Sequence[int]) -> int:
    """The sum of votes of +1 (the first), -1 (the second) and 0 (a tie): its sign is the verdict."""
    return sum(votes)


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


_MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")


def gsm8k(data: Path) -> Iterator[Comparison]:
    """GSM8K's example solutions (MIT): four models a question, right where the final answer is; each right solution
    against each wrong one."""
    for record in read_lines(data / "gsm8k" / "example_model_solutions.jsonl"):
        solutions = [record[model] for model in _MODELS]
        for good in solutions:
            for bad in solutions:
                if good["is_correct"] and not bad["is_correct"]:
                    yield Comparison(prompt=record["question"], better=good["solution"], worse=bad["solution"])


_TURN = "\n\nAssistant:"


def hh_harmless(data: Path) -> Iterator[Comparison]:
    """HH-RLHF harmless-base, its test part (MIT): two transcripts that differ in their last reply."""
    for record in read_lines(data / "hh_rlhf_harmless" / "harmless-base_test.jsonl"):
        chosen, rejected = record["chosen"], record["rejected"]
        prompt, _, better = chosen.rpartition(_TURN)
        other, _, worse = rejected.rpartition(_TURN)
        if prompt == other and better != worse:  # a few transcripts part ways earlier
            yield Comparison(prompt=prompt.strip(), better=better.strip(), worse=worse.strip())


_AXES = ("coherence", "consistency", "fluency", "relevance")
_MARGIN = 0.5  # points of five, in the mean over the axes: smaller differences are within the annotators' noise


def summeval(data: Path) -> Iterator[Comparison]:
    """SummEval's expert scores (MIT): sixteen summaries a text; pairs whose mean scores are `_MARGIN` apart."""
    for record in read_json(data / "summeval" / "bartscore_SummEval_data.converted.json").values():
        rated = [
            (sum(system["scores"][axis] for axis in _AXES) / len(_AXES), system["sys_summ"])
            for system in record["sys_summs"].values()
        ]
        for (a, first), (b, second) in combinations(rated, 2):
            if abs(a - b) >= _MARGIN and first != second:
                better, worse = (first, second) if a > b else (second, first)
                yield Comparison(prompt=f"Summarize:\n{record['src']}", better=better, worse=worse)


COMPARISONS: dict[str, Callable[[Path], Iterator[Comparison]]] = {
    "pandalm": pandalm,
    "prd-vicuna": prd_vicuna,
    "fine-grained-rlhf": fine_grained_rlhf,
    "hh-harmless": hh_harmless,
    "gsm8k": gsm8k,
    "summeval": summeval,
}
