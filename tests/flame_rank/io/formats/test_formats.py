"""Lines in the exact form of each tool, read as it stands, damaged, and again from what rerank wrote of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

from flame_rank import Reranker, read_problems
from flame_rank.errors import UserError
from flame_rank.io import formats
from flame_rank.io.lines import BadLine
from flame_rank.io.output import to_lines
from flame_rank.records import Problem

USER = {"role": "user", "content": "2 + 2?"}


def said(content: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": content}]


def choice(text: str, index: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "reasoning_content": None, "content": text, "tool_calls": []}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": "stop", "stop_reason": None}


def batch_line(custom_id: str, *texts: str) -> dict[str, Any]:
    """What `vllm run-batch` writes; OpenAI's has the same fields."""
    choices = [choice(text, i) for i, text in enumerate(texts)]
    usage = {"prompt_tokens": 12, "total_tokens": 20, "completion_tokens": 8}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1754000000, "model": "m", "choices": choices}
    response = {"status_code": 200, "request_id": "vllm-batch-1", "body": {**body, "usage": usage}}
    return {"id": f"vllm-{custom_id}", "custom_id": custom_id, "response": response, "error": None}


def request(custom_id: str) -> dict[str, Any]:
    body = {"model": "m", "messages": [USER], "n": 2}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


LM_EVAL = {
    "doc_id": 3,
    "doc": {"question": "2 + 2?", "answer": "#### 4"},
    "target": "4",
    "arguments": {
        "gen_args_0": {"arg_0": "Question: 2 + 2?\nAnswer:", "arg_1": {"until": ["Question:"], "do_sample": True}}
    },
    "resps": [["It is 4.", "It is 5."]],
    "filtered_resps": ["4"],
    "filter": "strict-match",
    "metrics": ["exact_match"],
    "doc_hash": "aa",
    "prompt_hash": "bb",
    "target_hash": "cc",
    "exact_match": 1.0,
}
LM_EVAL_CHAT = LM_EVAL | {"arguments": {"gen_args_0": {"arg_0": [json.dumps([USER])], "arg_1": {}}}}
TRL = {"prompt": "2 + 2?", "chosen": "It is 4.", "rejected": "It is 5."}
TRL_CHAT = {"prompt": [USER], "chosen": said("It is 4."), "rejected": said("It is 5.")}
TRL_IMPLICIT = {"chosen": [USER, *said("It is 4.")], "rejected": [USER, *said("It is 5.")]}
REWARDBENCH2 = {
    "id": "7",
    "prompt": "2 + 2?",
    "chosen": ["It is 4."],
    "rejected": ["It is 5.", "It is 6.", "It is 7."],
    "num_correct": 1,
    "num_incorrect": 3,
    "total_completions": 4,
    "models": ["a", "b", "c", "d"],
    "subset": "Math",
    "additional_metadata": {"category": None, "index": 1.0},
}
DISTILABEL = {
    "instruction": "2 + 2?",
    "generations": ["It is 4.", "It is 5."],
    "model_names": ["a", "b"],
    "distilabel_metadata": {"raw_output_text_generation_0": "It is 4."},
}
# As distilabel 1.5 writes the output of TextGeneration and ChatGeneration: a row a generation, or grouped.
DISTILABEL_ROWS: list[dict[str, Any]] = [
    {
        **{"system_prompt": "Be short.", "instruction": "2 + 2?", "generation": text, "model_name": "m"},
        "distilabel_metadata": {"raw_output_text_generation_0": text, "statistics_text_generation_0": {}},
    }
    for text in ("It is 4.", "It is 5.")
]
DISTILABEL_CHAT = {"messages": [USER], "generation": ["It is 4.", "It is 5."], "model_name": ["m", "m"]}
DISTILABEL_GROUPED = {"instruction": "2 + 2?", "grouped_generation": ["It is 4.", "It is 5."]}
VERL = [
    {"input": "user\n2 + 2?\nassistant\n", "output": text, "gts": "4", "score": score, "step": 12, "acc": score}
    for text, score in (("It is 4.", 1.0), ("It is 5.", 0.0))
]
# name, lines, what is read: the prompt and the candidates
GOOD: dict[str, tuple[str, list[Any], str, list[str]]] = {
    "vllm run-batch": ("openai-batch", [batch_line("q1", "It is 4.", "It is 5.")], "2 + 2?", ["It is 4.", "It is 5."]),
    "one choice a line": (
        "openai-batch",
        [batch_line("q1", "It is 4."), batch_line("q2", "It is 5.")],
        "2 + 2?",
        ["It is 4.", "It is 5."],
    ),
    "lm-eval": ("lm-eval", [LM_EVAL], "Question: 2 + 2?\nAnswer:", ["It is 4.", "It is 5."]),
    "lm-eval chat": ("lm-eval", [LM_EVAL_CHAT], "2 + 2?", ["It is 4.", "It is 5."]),
    "trl": ("trl", [TRL], "2 + 2?", ["It is 4.", "It is 5."]),
    "trl chat": ("trl", [TRL_CHAT], "2 + 2?", ["It is 4.", "It is 5."]),
    "trl implicit": ("trl", [TRL_IMPLICIT], "2 + 2?", ["It is 4.", "It is 5."]),
    "rewardbench2": ("rewardbench2", [REWARDBENCH2], "2 + 2?", ["It is 4.", "It is 5.", "It is 6.", "It is 7."]),
    "distilabel": ("distilabel", [DISTILABEL], "2 + 2?", ["It is 4.", "It is 5."]),
    "distilabel rows": (
        "distilabel",
        DISTILABEL_ROWS,
        "[system]\nBe short.\n\n[user]\n2 + 2?",
        ["It is 4.", "It is 5."],
    ),
    "distilabel chat": ("distilabel", [DISTILABEL_CHAT], "2 + 2?", ["It is 4.", "It is 5."]),
    "distilabel grouped": ("distilabel", [DISTILABEL_GROUPED], "2 + 2?", ["It is 4.", "It is 5."]),
    "verl": ("verl", VERL, "user\n2 + 2?\nassistant\n", ["It is 4.", "It is 5."]),
}


def shortest(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
    return [float(len(b) - len(a)) + (a < b) - (a > b) for a, b in pairs]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[list[Any]], Path]:
    (tmp_path / "requests.jsonl").write_text("".join(json.dumps(request(name)) + "\n" for name in ("q1", "q2")))

    def put(lines: list[Any]) -> Path:
        path = tmp_path / "in.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return put


def read(path: Path, **options: Any) -> list[Problem]:
    return list(read_problems(path, requests=path.with_name("requests.jsonl"), **options))


@pytest.mark.parametrize("case", GOOD)
def test_is_recognised_and_read(case: str, write: Callable[[list[Any]], Path]) -> None:
    name, lines, prompt, candidates = GOOD[case]
    for named in (None, name):
        [problem] = read(write(lines), from_format=named)
        assert problem.prompt == prompt
        assert list(problem.texts) == candidates


@pytest.mark.parametrize("case", GOOD)
def test_goes_through_with_all_its_fields_and_is_read_again(case: str, write: Callable[[list[Any]], Path]) -> None:
    _, lines, prompt, candidates = GOOD[case]
    [ranking] = Reranker(shortest).rank_many(read(write(lines)))
    written = json.loads(to_lines(ranking))
    if len(lines) == 1:
        assert {key: written[key] for key in lines[0]} == lines[0]
    else:
        assert [
            {key: sample[key] for key in line} for sample, line in zip(written["samples"], lines, strict=True)
        ] == lines
    assert candidates[written["best"]] == "It is 4."
    [again] = read(write([written]))
    assert (again.prompt, list(again.texts)) == (prompt, candidates)
    [second] = Reranker(shortest).rank_many([again])
    assert json.loads(to_lines(second)) == written


def test_a_file_that_lm_eval_wrote() -> None:
    """Of its version 0.4 with `--model dummy`, a task of two documents and `repeats: 3`."""
    path = ROOT / "tests" / "fixtures" / "formats" / "lm_eval_samples.jsonl"
    problems = list(read_problems(path))
    assert [(problem.name, problem.texts) for problem in problems] == [("0", ("lol",) * 3), ("1", ("lol",) * 3)]
    assert problems[0].prompt == "Question: 2 + 2?\nAnswer:"
    [first, _] = [json.loads(line) for line in path.read_text().splitlines()]
    written = json.loads(to_lines(Reranker(shortest).rank(problems[0])))
    assert {key: written[key] for key in first} == first


@pytest.mark.parametrize("case", [case for case in GOOD if len(GOOD[case][1]) > 1])
def test_the_best_lines_keep_what_their_tool_scored(case: str, write: Callable[[list[Any]], Path]) -> None:
    _, lines, _, _ = GOOD[case]
    [ranking] = Reranker(shortest).rank_many(read(write(lines)))
    best = json.loads(to_lines(ranking, top=1))
    assert best["rank"] == 1
    assert {key: best[key] for key in lines[0]} == lines[0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (batch_line("q9", "a", "b"), "no request 'q9' in "),
        (batch_line("q1", "a") | {"response": None, "error": {"code": "x", "message": "timed out"}}, "timed out"),
        ({"custom_id": "q1", "response": {"status_code": 429, "body": {"error": {"message": "slow"}}}}, "429: slow"),
        ({"custom_id": "q1", "response": {"status_code": 200, "body": {"data": []}}}, "only texts can be ranked"),
        ({"custom_id": "q1", "response": {"status_code": 200, "body": {"choices": [{"index": 0}]}}}, "choice 0"),
        (LM_EVAL | {"resps": [[["-1.2", "False"]], [["-0.3", "True"]]]}, "output_type: generate_until"),
        (LM_EVAL | {"resps": [[["-1.2", "False"]]]}, "output_type: generate_until"),
        (LM_EVAL | {"resps": []}, '"resps" is not a list'),
        (LM_EVAL | {"resps": [["a", None]]}, '"resps"[0][1] is null'),
        (LM_EVAL | {"arguments": {}}, "gen_args_0"),
        (TRL | {"rejected": 3}, '"rejected" is a number'),
        (TRL | {"chosen": [{"content": "x"}]}, 'without a "role"'),
        (TRL | {"chosen": [3]}, "not of messages"),
        ({"chosen": "a", "rejected": "b"}, 'no "prompt"'),
        ({"chosen": [USER, *said("a")], "rejected": said("b")}, "begin differently"),
        (REWARDBENCH2 | {"rejected": []}, '"rejected" is empty'),
        (VERL[0] | {"output": None}, '"output" is null'),
        (DISTILABEL | {"generations": ["a", None]}, '"generations"[1] is null'),
        (DISTILABEL_ROWS[0] | {"generation": None}, '"generation" is null'),
    ],
)
def test_a_damaged_line_is_named(line: Any, message: str, write: Callable[[list[Any]], Path]) -> None:
    with pytest.raises(BadLine) as error:
        read(write([line]))
    assert message in str(error.value)
    assert "in.jsonl:1: " in str(error.value)
    assert "\n" not in str(error.value)


def test_a_batch_without_its_requests_says_what_it_takes(write: Callable[[list[Any]], Path]) -> None:
    with pytest.raises(BadLine, match="--requests"):
        list(read_problems(write([batch_line("q1", "a", "b")])))


def test_a_file_of_requests_that_holds_none_is_named(write: Callable[[list[Any]], Path]) -> None:
    path = write([batch_line("q1", "a", "b")])
    path.with_name("requests.jsonl").write_text('{"custom_id": "q1"}\n')
    with pytest.raises(UserError, match=r"requests.jsonl:1: not a request"):
        read(path)


def test_completions_and_responses_are_read(write: Callable[[list[Any]], Path]) -> None:
    completions = batch_line("q1", "a", "b")
    completions["response"]["body"]["choices"] = [{"index": 0, "text": "It is 4."}, {"index": 1, "text": "It is 5."}]
    [problem] = read(write([completions]))
    assert problem.texts == ("It is 4.", "It is 5.")
    response = batch_line("q1", "a")
    parts = [{"type": "output_text", "text": "It is 4."}]
    response["response"]["body"] = {"output": [{"type": "reasoning"}, {"type": "message", "content": parts}]}
    [problem] = read(write([response]))
    assert problem.texts == ("It is 4.",)


def test_a_refusal_is_a_candidate(write: Callable[[list[Any]], Path]) -> None:
    line = batch_line("q1", "a", "b")
    line["response"]["body"]["choices"][1]["message"] |= {"content": None, "refusal": "I cannot."}
    [problem] = read(write([line]))
    assert problem.texts == ("a", "I cannot.")


def test_lines_of_two_shapes_are_one_bad_line(write: Callable[[list[Any]], Path]) -> None:
    with pytest.raises(BadLine, match=r'in.jsonl:2: no "chosen"'):
        read(write([TRL, {"prompt": "p", "candidates": ["a"]}]))
    bad: list[int] = []
    problems = read(write([TRL, {"rubbish": 1}, TRL]), on_bad_line=lambda error, line: bad.append(error.line_number))
    assert (len(problems), bad) == (2, [2])


def test_prompts_with_one_completion_a_line_are_gathered_if_named(write: Callable[[list[Any]], Path]) -> None:
    path = write(
        [{"prompt": "p", "completion": "a"}, {"prompt": "q", "completion": "c"}, {"prompt": "p", "completion": "b"}]
    )
    assert [problem.texts for problem in read(path, from_format="trl")] == [("a", "b"), ("c",)]
    with pytest.raises(BadLine, match="group-by"):
        read(path)


def test_an_unknown_name_is_refused(write: Callable[[list[Any]], Path]) -> None:
    with pytest.raises(ValueError, match="no format is called 'verll'"):
        read(write([TRL]), from_format="verll")
    for name in formats.NAMES[1:]:
        assert formats.by_name(name, formats.all_formats()).name in formats.NAMES


class CompletionOutput:
    """As vllm/outputs.py has it, with the attributes that are read and one that is not."""

    def __init__(self, index: int, text: str):
        self.index, self.text, self.token_ids = index, text, [1, 2]
        self.cumulative_logprob, self.finish_reason, self.stop_reason = -1.5, "stop", None


class RequestOutput:
    def __init__(self, prompt: str | None, *texts: str):
        self.request_id, self.prompt, self.prompt_token_ids, self.finished = "0", prompt, [1], True
        self.outputs = [CompletionOutput(i, text) for i, text in enumerate(texts)]


def test_vllm_objects_are_problems() -> None:
    outputs = [RequestOutput("2 + 2?", "It is 4.", "It is five.")]
    [ranking] = Reranker(shortest).rank_many(outputs)  # type: ignore[arg-type]
    assert ranking.best is not None and not isinstance(ranking.best, str)
    assert ranking.best.text == "It is 4."
    assert ranking.best.fields == {"index": 0, "cumulative_logprob": -1.5, "finish_reason": "stop"}
    [problem] = read_problems(outputs)
    assert (problem.name, problem.prompt, problem.texts) == ("0", "2 + 2?", ("It is 4.", "It is five."))
    with pytest.raises(ValueError, match="token ids"):
        Problem.of(RequestOutput(None, "a"))  # type: ignore[arg-type]


def test_rows_of_a_data_set_are_read() -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_list([{"instruction": "2 + 2?", "generations": ["It is 4.", "It is 5."], "n": 7}])
    [ranking] = Reranker(shortest).rank_many(read_problems(rows))
    assert json.loads(to_lines(ranking))["n"] == 7
    flat = datasets.Dataset.from_list(VERL)
    [problem] = read_problems(flat)
    assert problem.texts == ("It is 4.", "It is 5.")
    with pytest.raises(BadLine, match="row:1: "):
        list(read_problems([{"instruction": "x", "generations": 3}]))
