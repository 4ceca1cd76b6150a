"""MBPP problems and model solutions, written as they are released, for the tests of what is read from them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path


def write_lines(path: Path, records: Iterable[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def problem(number: int, text: str, code: str, *tests: str, setup: str = "") -> dict[str, object]:
    """A line of mbpp.jsonl, with the line ends of the release."""
    code = code.replace("\n", "\r\n")
    return {
        "text": text,
        "code": code,
        "task_id": number,
        "test_setup_code": setup,
        "test_list": list(tests),
        "challenge_test_list": [],
    }


def write_problems(data: Path, *problems: Mapping[str, object]) -> None:
    write_lines(data / "mbpp" / "mbpp.jsonl", problems)


def write_solutions(
    data: Path,
    *,
    seeds: Mapping[str, Iterable[tuple[int, str]]] | None = None,
    repairs: Mapping[str, Iterable[tuple[int, str, list[str]]]] | None = None,
    agentcoder: Iterable[tuple[int, str, str]] = (),
    reflexion: Iterable[tuple[int, str]] = (),
) -> None:
    """The files of the three releases that are read; each is there, if only with a program of no problem.

    Args:
      seeds: by model, (task id, solution) of LLMDebugger.
      repairs: by model, (task id, solution, implementations) of LLMDebugger.
      agentcoder: (task id, completion, full_code).
      reflexion: (task id, solution).
    """
    folder = data / "mbpp_model_solutions"
    folder.mkdir(parents=True, exist_ok=True)
    for model, written in (seeds or {"starcoder": [(0, "")]}).items():
        write_lines(
            folder / f"llmdebugger_seed_{model}.jsonl",
            [{"task_id": f"MBPP/{n}", "solution": text, "seed": "", "is_solved": False} for n, text in written],
        )
    for model, repaired in (repairs or {}).items():
        write_lines(
            folder / f"llmdebugger_ldb_{model}.jsonl",
            [{"task_id": f"MBPP/{n}", "solution": s, "implementations": tried} for n, s, tried in repaired],
        )
    records = [{"task_id": n, "completion": c, "full_code": f, "passed": False} for n, c, f in agentcoder]
    (folder / "agentcoder_zero_shot_gpt-3.5-turbo_0_mbpp.json").write_text(json.dumps(records))
    write_lines(
        folder / "reflexion_simple_mbpp_py.jsonl",
        [{"name": f"mbpp_{n}_some_name", "language": "py", "solution": text} for n, text in reflexion or [(0, "")]],
    )
