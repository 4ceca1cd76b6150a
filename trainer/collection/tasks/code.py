"""Coding: which of two programs is right?"""

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

from trainer.collection.release_files import Folder, Row
from trainer.collection.tasks.base import DataSet, Pair, Release, Task
from trainer.collection.tasks.solutions import Solutions, gathered

_CONTEST_LANGUAGES = {1: "Python 2", 2: "C++", 3: "Python 3", 4: "Java"}  # 0 is an unknown one
# Folders of CommitPackFT: programming languages in wide use, not its configuration files, prose and markup.
_COMMIT_LANGUAGES = (
    *("c", "c#", "c++", "clojure", "coffeescript", "dart", "elixir", "erlang", "go", "groovy", "haskell", "java"),
    *("javascript", "jsx", "julia", "kotlin", "lua", "ocaml", "perl", "php", "powershell", "python", "r", "ruby"),
    *("rust", "scala", "shell", "sql", "swift", "typescript"),
)
# A commit fixes a bug if its message names one, or begins with fixing something that is not mere wording or layout.
_BUG = re.compile(r"\b(bug|bugs|bugfix|hotfix|crash|crashes|regression|segfault|race condition|off.by.one)\b", re.I)
_FIX = re.compile(r"^\W*(fix|fixes|fixed|fixing)\b", re.I)
_FIXED = re.compile(r"\b(fix|fixes|fixed|fixing|bugfix|hotfix|resolves?|resolved|prevents?|avoids?|corrects?)\b", re.I)
_WORDING = re.compile(
    r"\b(typos?|spelling|grammar|comments?|docs?|docstrings?|documentation|readme|changelog|whitespaces?|indent\w*"
    r"|format\w*|styles?|lint\w*|pep8|pep 8|flake8|rubocop|eslint|jshint|jscs|links?|urls?|copyright|licen[cs]e)\b",
    re.I,
)
# LLMDebugger puts this before the programs of its repair runs, but not before their seeds.
_PREAMBLE = (
    "from typing import *\nimport math\nfrom heapq import *\nimport itertools\nimport re\nimport typing\nimport heapq\n"
    "_str=str\nimport re\n"
)
_USES = re.compile(
    r"\b(math|itertools|re|heapq|typing)\.|\b(heap\w+|nlargest|nsmallest|List|Dict|Set|Tuple|Optional|Any)\b"
)
_MODELS = ("codellama", "gpt-3.5-turbo-0613", "starcoder")
_LLMDEBUGGER = "https://raw.githubusercontent.com/FloridSleeves/LLMDebugger/main"
_REFLEXION = "https://raw.githubusercontent.com/noahshinn/reflexion/main/programming_runs/root"
_PROGRAMS = {
    **{
        f"{_LLMDEBUGGER}/input_data/mbpp/seed/{model}/seed.jsonl": f"llmdebugger_seed_{model}.jsonl"
        for model in _MODELS
    },
    **{f"{_LLMDEBUGGER}/results/ldb/mbpp/{model}/results.jsonl": f"llmdebugger_ldb_{model}.jsonl" for model in _MODELS},
    f"{_REFLEXION}/reflexion_mbpp_py/mbpp-py._reflexion_5_gpt-4_pass_at_k_1_py.jsonl": (
        "reflexion_reflexion_mbpp_py.jsonl"
    ),
    f"{_REFLEXION}/reflexion_mbpp_py3/mbpp-py._reflexion_5_gpt-4_pass_at_k_1_py.jsonl": (
        "reflexion_reflexion_mbpp_py3.jsonl"
    ),
    f"{_REFLEXION}/simple_mbpp_py/mbpp-py._simple_1_gpt-4_pass_at_k_1_py.jsonl": "reflexion_simple_mbpp_py.jsonl",
    f"{_REFLEXION}/simple_mbpp_py2/mbpp-py._simple_1_gpt-4_pass_at_k_1_py.jsonl": "reflexion_simple_mbpp_py2.jsonl",
}


def _commits(folder: Folder) -> Iterator[Row]:
    for language in _COMMIT_LANGUAGES:
        if folder.has(f"data/{language}/data.jsonl"):
            yield from folder.jsonl(f"data/{language}/data.jsonl")


def _programs(folder: Folder) -> Iterator[Row]:
    rows = (row for name in _PROGRAMS.values() for row in folder.jsonl(name))
    return gathered(rows, _program)


def _program(record: Any) -> Solutions:
    body = record["solution"].removeprefix(_PREAMBLE)
    text = (
        record["solution"] if _USES.search(body) else body
    )  # without imports that it does not use and that seeds lack
    solved = record["is_solved"]  # whether it passes MBPP's hidden tests
    if type(solved) is not bool:
        raise ValueError(f"is_solved is {solved!r}")
    solutions = Solutions(problem=record["prompt"].strip())
    solutions.add(*([text.strip()], []) if solved else ([], [text.strip()]))
    return solutions


CODE_CONTESTS = DataSet(
    folder="code_contests",
    origin="hf:deepmind/code_contests",
    licence="CC BY 4.0",
    permissive=True,
    releases=(Release(files=("data/train-*.parquet",), read=lambda folder: folder.parquet("data/train-*.parquet")),),
    downloads={"hf://datasets/deepmind/code_contests/data/train-*.parquet": "data/"},
)
COFFEE = DataSet(
    folder="coffee",
    origin="hf:DLI-Lab/COFFEE-Dataset",
    licence="none stated",
    permissive=False,
    releases=(Release(files=("data/train-*.parquet",), read=lambda folder: folder.parquet("data/train-*.parquet")),),
    downloads={"hf://datasets/DLI-Lab/COFFEE-Dataset/data/train-*.parquet": "data/"},
)
COMMITPACKFT = DataSet(
    folder="commitpackft",
    origin="hf:bigcode/commitpackft",
    licence="MIT; each commit under the permissive licence of its repository",
    permissive=True,
    releases=(Release(files=("data/*/data.jsonl",), read=_commits),),
    downloads={
        f"hf://datasets/bigcode/commitpackft/data/{language}/data.jsonl": f"data/{language}/data.jsonl"
        for language in _COMMIT_LANGUAGES
    },
)
# AgentCoder's runs are left out, because it is not stated which of a record's two programs `passed` refers to.
# WizardCoder's runs have no labels.
MBPP_PROGRAMS = DataSet(
    folder="mbpp_model_solutions",
    origin="github:FloridSleeves/LLMDebugger, github:noahshinn/reflexion",
    licence="Apache-2.0 (LLMDebugger), MIT (Reflexion); MBPP CC BY 4.0",
    permissive=True,
    releases=(Release(files=tuple(_PROGRAMS.values()), read=_programs),),
    downloads=_PROGRAMS,
)


def _code_contests(record: Any) -> Iterator[Pair]:
    """Yields a pair for each language that has both: its first correct and its first incorrect solution."""
    right, wrong = (_first_by_language(record[field]) for field in ("solutions", "incorrect_solutions"))
    for language in sorted(right.keys() & wrong.keys()):
        context = record["description"], _limits(record), _CONTEST_LANGUAGES[language]
        yield Pair(context=context, better=right[language], worse=wrong[language])


def _first_by_language(solutions: Any) -> dict[int, str]:
    by_language: dict[int, str] = {}
    for language, text in zip(solutions["language"], solutions["solution"], strict=True):
        if language in _CONTEST_LANGUAGES:
            by_language.setdefault(language, text)
        elif language != 0:
            raise ValueError(f"language is {language!r}")
    return by_language


def _limits(record: Any) -> str:
    time, memory = record["time_limit"], record["memory_limit_bytes"]
    known = [f"{(time['seconds'] or 0) + (time['nanos'] or 0) / 1e9:g} s"] if time else []
    known += [f"{memory / 1e6:.0f} MB"] if memory else []
    return ", ".join(known) or "not stated"


def _coffee(record: Any) -> Iterator[Pair]:
    sections = ("Input", record["input_format"]), ("Output", record["output_format"])
    problem = "\n\n".join([record["description"], *(f"{name}:\n{text}" for name, text in sections if text)])
    yield Pair(context=(problem,), better=record["correct_code"], worse=record["wrong_code"])


def _commitpack(record: Any) -> Iterator[Pair]:
    context = record["message"], record["new_file"]
    yield Pair(context=context, better=record["new_contents"], worse=record["old_contents"])


def fixes_a_bug(message: str) -> bool:
    """Tells whether a commit's message says that it fixes a bug in a program."""
    subject = message.strip().partition("\n")[0]
    named = _BUG.search(subject) is not None and _FIXED.search(subject) is not None
    return (named or _FIX.search(subject) is not None) and _WORDING.search(subject) is None


def _commitpack_bugs(record: Any) -> Iterator[Pair]:
    if fixes_a_bug(record["message"]):
        yield from _commitpack(record)


def _mbpp_programs(record: Solutions) -> Iterator[Pair]:
    for better, worse in product(*record.sure()):
        yield Pair(context=(record.problem,), better=better, worse=worse)


TASKS: tuple[Task, ...] = (
    Task(
        name="code-contests",
        split="train",
        capability="coding",
        kind="pairwise",
        data=CODE_CONTESTS,
        title="The correct solution of a contest problem",
        description=(
            "A problem of a programming contest is given with its limits, and two programs in the same language that "
            "people handed in. One of them was accepted; the other one was rejected: it gives a wrong output, breaks "
            "down, or takes too much time or memory on some input. Think of edge cases and of the largest inputs. "
            "Answer with A if response_a is the correct program, with B if response_b is."
        ),
        fields=("problem", "limits", "language"),
        convert=_code_contests,
    ),
    Task(
        name="coffee",
        split="train",
        capability="coding",
        kind="pairwise",
        data=COFFEE,
        title="The program after its bug was fixed",
        description=(
            "A programming problem is given, and two versions of one person's program for it. One was judged wrong on "
            "the problem's tests; the other one, handed in after a bug was fixed, was accepted. They may differ in a "
            "few characters only: find where, and see which version does what the problem asks on all inputs. Answer "
            "with A if response_a is the correct version, with B if response_b is."
        ),
        fields=("problem",),
        convert=_coffee,
    ),
    Task(
        name="commitpack",
        split="train",
        capability="coding",
        kind="pairwise",
        data=COMMITPACKFT,
        title="The file that a commit message describes",
        description=(
            "The message of a commit is given, and two versions of the file that it changed: before and after the "
            "commit, in no order. Choose the version in which the change that the message asks for or describes is "
            "made. Answer with A if response_a is that version, with B if response_b is."
        ),
        fields=("commit_message", "file"),
        convert=_commitpack,
    ),
    Task(
        name="commitpack-bugs",
        split="train",
        capability="coding",
        kind="pairwise",
        data=COMMITPACKFT,
        title="The file in which a bug is fixed",
        description=(
            "The message of a commit that fixes a bug is given, and two versions of the file that it changed: one "
            "with the bug and one without it, in no order. Compare them where they differ, and choose the version "
            "that behaves as the message says it should. Answer with A if response_a is the fixed version, with B if "
            "response_b is."
        ),
        fields=("commit_message", "file"),
        convert=_commitpack_bugs,
    ),
    Task(
        name="mbpp-programs",
        split="extra",
        capability="coding",
        kind="pairwise",
        data=MBPP_PROGRAMS,
        title="The Python function that passes its tests",
        description=(
            "A Python function's signature and what it should do are given, and two functions that models wrote. One "
            "passes all of the task's hidden tests, the other one fails in some. Trace both on ordinary inputs and on "
            "edge cases; style and length do not count. Answer with A if response_a is the one that passes, with B if "
            "response_b is."
        ),
        fields=("task",),
        convert=_mbpp_programs,
    ),
)
