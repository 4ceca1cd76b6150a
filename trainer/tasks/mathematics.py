"""Worked solutions, right and wrong."""

from collections.abc import Iterator
from pathlib import Path

from trainer.tasks.base import Comparison, read_lines

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
