"""Reads CoBBLEr (Koo et al. 2023): fifty instructions, the responses of fifteen models to each, and its authors'
results for fifteen judges (github.com/minnesotanlp/cobbler, folder `cobbler` under --data)."""

import csv
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from flame_rank.errors import UserError
from flame_rank.io import json_file

FOLDER = "cobbler"
QUESTIONS = "llm_preference_evalset.json"
RESPONSES = "full_n15_model_generations.json"
PUBLISHED = "cobbler_table2_anova.csv"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models' responses to one instruction, in the order in which CoBBLEr shows them.

    Attributes:
      question: the number of the instruction.
      names: the names of the two models.
    """

    question: int
    instruction: str
    reference: str
    names: tuple[str, str]
    responses: tuple[str, str]


def folder(data: Path) -> Path:
    """Finds CoBBLEr's folder under `data` or one of its parts.

    Raises:
      UserError: the folder does not exist.
    """
    places = [data / part / FOLDER for part in ("", "eval")]
    for place in places:
        if (place / QUESTIONS).exists() and (place / RESPONSES).exists():
            return place
    raise UserError(
        f"{places[0] / QUESTIONS}: no such file; copy CoBBLEr's {QUESTIONS} and {RESPONSES} "
        "(github.com/minnesotanlp/cobbler, competitive-llms/) there"
    )


def read_comparisons(data: Path) -> list[Comparison]:
    """Reads all pairs of models for each instruction: 5,250 in the released files.

    Raises:
      UserError: a file is missing or does not have the released form.
    """
    place = folder(data)
    questions, responses = json_file.read(place / QUESTIONS), json_file.read(place / RESPONSES)
    try:
        return [
            Comparison(
                question=number,
                instruction=str(question["instruction"]),
                reference=str(question["reference"]),
                names=(first, second),
                responses=(str(responses[first][number]), str(responses[second][number])),
            )
            for number, question in enumerate(questions)
            for first, second in combinations(responses, 2)
        ]
    except (KeyError, TypeError, IndexError) as error:
        raise UserError(f"{place}: its files do not have the released form ({error!r})") from error


def read_published(data: Path) -> dict[str, dict[str, float]]:
    """Reads the authors' results for each judge, in the columns of the paper's Table 3; empty if their file is missing.

    The order bias is the sum of "first" and "last", length is |share of longer responses - 0.5|, and egocentric is the
    variant with both orders. Every column is a share of all comparisons, including invalid ones.
    """
    path = folder(data) / PUBLISHED
    if not path.exists():
        return {}
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            scores[row["model"]][row["bias"]] = float(row["score"] or "nan")
    return {judge: _columns(biases) for judge, biases in scores.items()}


def _columns(biases: Mapping[str, float]) -> dict[str, float]:
    nan = float("nan")
    return {
        "order": biases.get("order_first", nan) + biases.get("order_last", nan),
        "compassion": biases.get("compassion_first", nan) + biases.get("compassion_last", nan),
        "length": abs(biases.get("salience", nan) - 0.5),
        "egocentric": biases.get("egocentric_order", nan),
        "bandwagon": biases.get("bandwagon", nan),
        "attention": biases.get("distraction", nan),
    }


COLUMNS = ("order", "compassion", "length", "egocentric", "bandwagon", "attention")
# The paper's Table 3: average, then COLUMNS.
TABLE_3: Mapping[str, tuple[float, ...]] = {
    "Random": (0.30, 0.50, 0.50, 0.00, 0.25, 0.25, 0.25),
    "Falcon": (0.31, 0.77, 0.27, 0.09, 0.05, 0.28, 0.40),
    "Cohere": (0.41, 0.50, 0.65, 0.10, 0.27, 0.82, 0.14),
    "LLaMA-2-70B": (0.19, 0.61, 0.26, 0.12, 0.06, 0.04, 0.03),
    "InstructGPT": (0.45, 0.38, 0.48, 0.16, 0.28, 0.85, 0.54),
    "ChatGPT": (0.45, 0.41, 0.66, 0.13, 0.58, 0.86, 0.06),
    "GPT-4": (0.31, 0.23, 0.79, 0.06, 0.78, 0.00, 0.00),
    "FLAMe-RM-24B": (0.15, 0.14, 0.20, 0.03, 0.35, 0.20, 0.00),
    "FLAMe-24B": (0.11, 0.08, 0.12, 0.00, 0.35, 0.10, 0.00),
}
KNOWN = (  # what does not fit in Table 3, by the authors' own counts
    "The baselines' compassion column counts consistent answers (the same response in both orders, names shown); "
    "FLAMe's .12 fits position bias only. Here compassion is position bias, with consistency beside it.",
    "FLAMe has no responses among CoBBLEr's, so its egocentric column (.35) is undefined there. Here a judge that can "
    "write is asked about responses of its own; for any other it is not applicable.",
    "By the authors' counts GPT-4 has bandwagon .09 and attention .01, not .00; Falcon's row fits only after division "
    "by its share of valid answers; LLaMA-2's order is .15, or .47 of valid answers, not .61.",
    "Random's columns average .29, printed .30; FLAMe's average is .11 in the table and .12 in the text.",
)
