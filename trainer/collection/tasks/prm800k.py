"""PRM800K (Lightman et al., 2024): solutions of mathematical problems, labelled step by step.

The same files are read in two ways: record by record, and all solutions of a problem together. The test parts are not
read.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from trainer.collection.release_files import Folder, Row, reject_bad
from trainer.collection.tasks.base import DataSet, Release
from trainer.collection.tasks.solutions import Solutions, gathered

GOOD, BAD = 1, -1  # ratings of a step; a step rated 0 is neither wrong nor useful
_ENDS = ("solution", "found_error", "give_up", "bad_problem")  # the reasons why labelling ended
_ANSWER = "# Answer"  # stands before the answer in a solution's last step
_FILES = "prm800k/data/phase1_train.jsonl", "prm800k/data/phase2_train.jsonl"
_REPACK = "phase1_train_plus.converted.jsonl"


class Point(NamedTuple):
    """A point of a labelled solution.

    Attributes:
      before: the steps up to here.
      proposals: the model's next steps with their ratings; those that the labeller flagged are left out.
      written: the labeller's own next step, if any.
      chosen: which of these steps the solution continues with; None at the point where labelling ended.
    """

    before: list[str]
    proposals: list[tuple[str, int | None]]
    written: str | None
    chosen: str | None


def points(record: Any) -> Iterator[Point]:
    """Yields the points of a labelled solution, up to the one where labelling ended."""
    before: list[str] = []
    for step in record["label"]["steps"]:
        proposals, index = step["completions"] or [], step["chosen_completion"]
        if any(proposal["rating"] not in (BAD, 0, GOOD, None) for proposal in proposals):
            raise ValueError("a rating is not -1, 0 or 1")
        written = step["human_completion"]["text"] if step["human_completion"] else None
        chosen = written if index is None else proposals[index]["text"]
        rated = [(proposal["text"], proposal["rating"]) for proposal in proposals if not proposal.get("flagged")]
        yield Point(list(before), rated, written, chosen)
        if chosen is None:
            return
        before.append(chosen)


def is_used(record: Any) -> bool:
    """Tells whether a labelled solution is used; those for screening labellers and those of broken problems are not."""
    end = record["label"]["finish_reason"]
    if end not in _ENDS:
        raise ValueError(f"finish_reason is {end!r}")
    return not record["is_initial_screening_question"] and end != "bad_problem"


def _solutions(record: Any) -> Solutions:
    """Reads the whole solutions of a record.

    A right solution was labelled up to its answer. A wrong one is a model's solution with an error and with another
    answer than MATH's (phase 2), or a right one whose last step is replaced by a step that was rated bad and gives
    another answer (mostly phase 1). Bad answers at earlier steps are not used: such a solution is the beginning of the
    right one, so that the longer solution was right in 94 % of the pairs, and length alone predicted the label.
    """
    question, label = record["question"], record["label"]
    solutions = Solutions(problem=question["problem"])
    if not is_used(record):
        return solutions
    solutions.human = question.get("ground_truth_solution")  # phase 1 has none
    if label["finish_reason"] == "found_error" and question.get("pre_generated_steps"):
        if question["pre_generated_answer"] != question["ground_truth_answer"]:
            solutions.add([], ["\n".join(question["pre_generated_steps"])])
    elif label["finish_reason"] == "solution":
        *_, last = points(record)
        if last.chosen is None or _ANSWER not in last.chosen:
            return solutions
        wrong = [
            text
            for text, rating in last.proposals
            if rating == BAD and _ANSWER in text and _answer(text) != _answer(last.chosen)
        ]
        solutions.add(*(["\n".join([*last.before, end]) for end in ends] for ends in ([last.chosen], wrong)))
    return solutions


def _answer(step: str) -> str:
    return "".join(step.rpartition(_ANSWER)[2].split())


def _repacked(folder: Folder) -> Iterator[Row]:
    """Yields labelled solutions, each assembled from one row per proposed step. These rows lack labellers, times,
    flags, the answers of MATH, and the reason why labelling ended without a solution."""
    place = ""
    rows: list[Any] = []
    for where, row in reject_bad(folder.jsonl(_REPACK)):
        if rows and _begins(row, rows):
            yield place, _record(rows)
            rows = []
        place = place if rows else where
        rows.append(row)
    if rows:
        yield place, _record(rows)


def _begins(row: Any, rows: list[Any]) -> bool:
    """Tells whether a row begins another solution than the row before it, because a point has only one chosen step."""
    if row["instruction"] != rows[-1]["instruction"] or len(row["responses"]) < len(rows[-1]["responses"]):
        return True
    return row["is_preferred_response"] and any(
        other["is_preferred_response"] and other["responses"] == row["responses"] for other in rows
    )


def _record(rows: list[Any]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = []
    for row in rows:
        if len(row["responses"]) == len(steps):
            steps.append({"completions": [], "human_completion": None, "chosen_completion": None})
        elif len(row["responses"]) != len(steps) - 1:
            raise ValueError("a step is missing")
        step = steps[-1]
        text = row["next_response"]
        if row["answer"] is not None:
            text += f"\n\n{_ANSWER}\n\n{row['answer']}"
        if row["is_human_response"]:
            step["human_completion"] = {"text": text}
            continue
        if row["is_preferred_response"]:
            step["chosen_completion"] = len(step["completions"])
        step["completions"].append({"text": text, "rating": row["rating"], "flagged": None})
    return {
        "is_initial_screening_question": False,
        "question": {"problem": rows[0]["instruction"]},
        "label": {
            "steps": steps,
            "finish_reason": "solution" if any(row["is_solution"] for row in rows) else "give_up",
        },
    }


def _data(change: Callable[[Iterator[Row]], Iterator[Row]]) -> DataSet:
    return DataSet(
        folder="prm800k_phase1",
        origin="github:openai/prm800k",
        licence="MIT",
        permissive=True,
        releases=(
            Release(files=_FILES, read=lambda folder: change(folder.jsonl("prm800k/data/phase[12]_train.jsonl"))),
            Release(
                files=(_REPACK,),
                read=lambda folder: change(_repacked(folder)),
                note="phase 1 only, one row for each proposed step, by others; their error_reason is not read",
            ),
        ),
        downloads={f"https://media.githubusercontent.com/media/openai/prm800k/main/{name}": name for name in _FILES},
        sha256={
            _FILES[0]: "e9da6a73f827ffb9a8c0dc644c541d34ed76b3d4d1e4896ff5f7b37ddf5ae34d",
            _FILES[1]: "1110237feeb51d1bc200cb37b8f965cfdc1036eac7d506094049366fe7dc1089",
        },
    )


PRM800K = _data(lambda rows: rows)
PRM800K_SOLUTIONS = _data(lambda rows: gathered(rows, _solutions))
