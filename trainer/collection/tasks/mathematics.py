"""Mathematical reasoning: right and wrong solutions, good and bad steps."""

from collections.abc import Iterator
from itertools import product
from typing import Any

from trainer.collection.tasks.base import Answer, DataSet, Pair, Release, Task
from trainer.collection.tasks.prm800k import BAD, GOOD, PRM800K, PRM800K_SOLUTIONS, is_used, points
from trainer.collection.tasks.solutions import Solutions

_MISTAKE = tuple(
    f"{name}.jsonl"
    for name in (
        "dyck_languages",
        "logical_deduction",
        "multistep_arithmetic",
        "tracking_shuffled_objects",
        "word_sorting",
    )
)
_MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")

GSM8K = DataSet(
    folder="gsm8k",
    origin="github:openai/grade-school-math",
    licence="MIT",
    permissive=True,
    releases=(
        Release(
            files=("example_model_solutions.jsonl",), read=lambda folder: folder.jsonl("example_model_solutions.jsonl")
        ),
    ),
    downloads={
        "https://raw.githubusercontent.com/openai/grade-school-math/master/grade_school_math/data/"
        "example_model_solutions.jsonl": "example_model_solutions.jsonl"
    },
)
BIGBENCH_MISTAKE = DataSet(
    folder="extra_bigbench_mistake",
    origin="github:WHGTyen/BIG-Bench-Mistake",
    licence="Apache-2.0",
    permissive=True,
    releases=(Release(files=_MISTAKE, read=lambda folder: (row for name in _MISTAKE for row in folder.jsonl(name))),),
    downloads={f"https://raw.githubusercontent.com/WHGTyen/BIG-Bench-Mistake/main/{name}": name for name in _MISTAKE},
)


def _prm800k_solutions(record: Solutions) -> Iterator[Pair]:
    """Yields both kinds of pairs of the paper's section 3.2: every wrong solution with the human solution of MATH,
    and the k-th wrong solution with the k-th right one by a model."""
    right, wrong = record.sure()
    pairs = [(record.human, text) for text in wrong] if record.human else []
    for better, worse in [*pairs, *zip(right, wrong, strict=False)]:
        yield Pair(context=(record.problem,), better=better, worse=worse)


def _prm800k_steps(record: Any) -> Iterator[Pair]:
    """Pairs the k-th good step with the k-th bad one at the same point; a step that the labeller wrote is good."""
    if not is_used(record):
        return
    for point in points(record):
        good = [text for text, rating in point.proposals if rating == GOOD]
        good += [point.written] if point.written else []
        bad = [text for text, rating in point.proposals if rating == BAD]
        both = set(good) & set(bad)  # the same text twice, with different ratings
        good, bad = ([text for text in dict.fromkeys(texts) if text not in both] for texts in (good, bad))
        context = record["question"]["problem"], "\n".join(point.before) or "(no step yet)"
        for better, worse in zip(good, bad, strict=False):
            yield Pair(context=context, better=better, worse=worse)


def _gsm8k(record: Any) -> tuple[str, list[str], list[str]]:
    """Returns the question, the models' right solutions and their wrong ones."""
    texts: dict[bool, dict[str, None]] = {True: {}, False: {}}
    for model in _MODELS:
        texts[record[model]["is_correct"]][record[model]["solution"]] = None
    return record["question"], list(texts[True]), list(texts[False])


def _gsm8k_solutions(record: Any) -> Iterator[Pair]:
    """Yields every right solution with every wrong one; the human's solution if no model's is right."""
    question, right, wrong = _gsm8k(record)
    for better, worse in product(right or [record["ground_truth"]], wrong):
        yield Pair(context=(question,), better=better, worse=worse)


def _gsm8k_correct(record: Any) -> Iterator[Answer]:
    question, right, wrong = _gsm8k(record)
    for verdict, texts in (("correct", right), ("incorrect", wrong)):
        for text in texts:
            yield Answer(context=(question, text), values=(verdict,))


def _bigbench_mistake(record: Any) -> Iterator[Answer]:
    steps, index = record["steps"], record["mistake_index"]  # counted from 0
    if index is not None and not 0 <= index < len(steps):
        raise ValueError(f"mistake_index is {index}, but there are {len(steps)} steps")
    reasoning = "\n".join(f"Step {number}: {text}" for number, text in enumerate(steps, 1))
    values = ("no", "none") if index is None else ("yes", str(index + 1))
    yield Answer(context=(record["input"], reasoning), values=values)


TASKS: tuple[Task, ...] = (
    Task(
        name="prm800k-solutions",
        split="train",
        capability="mathematical reasoning",
        kind="pairwise",
        data=PRM800K_SOLUTIONS,
        title="The right solution of a mathematical problem",
        description=(
            "Two solutions of a competition problem in mathematics are given, written by a person or by a model. One "
            "of them reaches the right answer by valid steps; in the other one a step is wrong, and so is the answer. "
            "Work the problem out and check each step; how a solution is worded or laid out does not count. Answer "
            "with A if response_a is the right solution, with B if response_b is."
        ),
        fields=("problem",),
        convert=_prm800k_solutions,
    ),
    Task(
        name="prm800k-steps",
        split="train",
        capability="mathematical reasoning",
        kind="pairwise",
        data=PRM800K,
        title="The better next step of a solution",
        description=(
            "A mathematical problem is being solved step by step; the problem and the steps so far are given, and two "
            "steps that might come next. A good step is correct, easy to follow and brings the solution forward. A "
            "bad one makes a mistake, states what does not follow, or leads astray. Answer with A if response_a is "
            "the good step, with B if response_b is."
        ),
        fields=("problem", "solution_so_far"),
        convert=_prm800k_steps,
    ),
    Task(
        name="gsm8k-solutions",
        split="extra",
        capability="mathematical reasoning",
        kind="pairwise",
        data=GSM8K,
        title="The right solution of a word problem",
        description=(
            "Two solutions of a grade-school word problem are given; their last line, behind A:, is the answer, and "
            "<<...>> holds what a calculator was asked and returned. One of them comes to the right answer and the "
            "other one does not. Work the problem out yourself, and see which answer is right. Answer with A if "
            "response_a comes to the right answer, with B if response_b does."
        ),
        fields=("question",),
        convert=_gsm8k_solutions,
    ),
    Task(
        name="gsm8k-correct",
        split="extra",
        capability="mathematical reasoning",
        kind="classification",
        data=GSM8K,
        title="Is the answer to a word problem right?",
        description=(
            "A grade-school word problem and a model's solution of it are given; the solution's last line, behind A:, "
            "is its answer, and <<...>> holds what a calculator was asked and returned. Work the problem out "
            "yourself. Answer correct if the solution comes to the right answer, and incorrect if it comes to another "
            "one or to none."
        ),
        fields=("question", "solution"),
        output_fields=("verdict",),
        labels=("correct", "incorrect"),
        convert=_gsm8k_correct,
    ),
    Task(
        name="bigbench-mistake",
        split="extra",
        capability="mathematical reasoning",
        kind="classification",
        data=BIGBENCH_MISTAKE,
        title="The first mistake in a chain of thought",
        description=(
            "A model reasons about a question in numbered steps. Find the first step with a mistake: one that does "
            "not follow from the question and the steps before it, contradicts them, or leaves out what had to be "
            "done. Under mistake, answer yes if some step has one, no if all are sound. Under first_wrong_step, give "
            "that step's number, or none."
        ),
        fields=("question", "reasoning"),
        output_fields=("mistake", "first_wrong_step"),
        labels=("yes", "no"),
        convert=_bigbench_mistake,
        full=2_186,
    ),
)
