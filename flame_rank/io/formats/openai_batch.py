"""The output of a batch of requests: OpenAI's (batch/reference) and that of `vllm run-batch`, with the same fields.

A line answers one request, which has the same custom_id in the file of requests: `{"id", "custom_id", "response":
{"status_code", "request_id", "body": {"choices": [...]}}, "error"}`. With n > 1 a line is a problem; with one choice
per line, the lines whose requests are equal make a problem.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from flame_rank.io.formats.base import OBJECT, RAWS, Fields, Parsed, Raw, decoded, kind_of, needed, text
from flame_rank.io.lines import read_objects
from flame_rank.messages import content

_TOOL = "a batch's output"
_REQUEST = '{"custom_id": ..., "body": {"messages": [...]}}'


@dataclass(frozen=True)
class OpenAIBatch:
    """The format of a batch's output.

    Attributes:
      requests: the file of the batch's requests; None if it is not known.
    """

    requests: str | Path | None = None
    name: str = "openai-batch"
    _asked: dict[str, Raw] = field(default_factory=dict, repr=False)

    def fits(self, fields: Fields) -> bool:
        """Tells whether a line answers a request by its custom_id."""
        return "custom_id" in fields and "response" in fields

    def flat(self, fields: Fields) -> bool:
        """Tells whether a line has a single choice."""
        return len(_answers(self._body(fields))) == 1

    def parse(self, fields: Fields) -> Parsed:
        """Reads the choices, and the prompt from the request."""
        custom_id = str(decoded(needed(fields, "custom_id", _TOOL)))
        answers = _answers(self._body(fields))
        asked = self._request(custom_id)
        return Parsed(
            prompt=text(asked, f"what {custom_id!r} asked"),
            candidates=[answer for answer, _ in answers],
            originals=[original for _, original in answers],
            messages=asked if kind_of(asked) == "a list" else None,
            name=custom_id,
        )

    def _body(self, fields: Fields) -> dict[str, Raw]:
        error = fields.get("error")
        response = needed(fields, "response", _TOOL)
        if kind_of(response) != "an object":
            raise ValueError(f"the request failed ({_reason(error)}); send the request again, or remove the line")
        answer = OBJECT.decode(response)
        status = decoded(answer["status_code"]) if "status_code" in answer else 200
        body = answer.get("body")
        if status != 200 or body is None or kind_of(body) != "an object":
            raise ValueError(
                f"the request failed (status {status}: {_reason(body)}); send the request again, or remove the line"
            )
        return OBJECT.decode(body)

    def _request(self, custom_id: str) -> Raw:
        if self.requests is None:
            raise ValueError(
                "a batch's output does not hold the prompts; name the file of its requests too (requests, --requests)"
            )
        if not self._asked:
            every = read_objects(self.requests, _REQUEST)
            self._asked.update([_asked(request.raw, f"{self.requests}:{number}") for number, request in every])
        if custom_id not in self._asked:
            raise ValueError(f"no request {custom_id!r} in {self.requests}; name the file of this batch's requests")
        return self._asked[custom_id]


def _asked(request: Fields, where: str) -> tuple[str, Raw]:
    """Returns a request's custom_id, and its messages or prompt."""
    from flame_rank.errors import UserError

    try:
        body = OBJECT.decode(request["body"])
        asked = next(body[key] for key in ("messages", "prompt", "input") if key in body)
        return str(decoded(request["custom_id"])), msgspec.Raw(bytes(asked))  # a copy: the line itself may go
    except (KeyError, StopIteration, msgspec.DecodeError):
        raise UserError(f"{where}: not a request of a batch; a line is {_REQUEST}") from None


def _answers(body: dict[str, Raw]) -> list[tuple[str, Raw]]:
    """Returns the text and the JSON of each choice of a chat completion, a completion or a response."""
    if "choices" in body and kind_of(body["choices"]) == "a list":
        answers = [(_choice(decoded(choice), i), choice) for i, choice in enumerate(RAWS.decode(body["choices"]))]
        if answers:
            return answers
        raise ValueError("the response has no choices; send the request again, or remove the line")
    if "output" in body and kind_of(body["output"]) == "a list":
        items: list[Any] = decoded(body["output"])
        parts = [item for item in items if isinstance(item, dict) and item.get("type") == "message"]
        return [("".join(content(part, "the output") for part in parts), body["output"])]
    raise ValueError('the body of the response has neither "choices" nor "output"; only texts can be ranked')


def _choice(choice: Any, i: int) -> str:
    if isinstance(choice, dict) and isinstance(choice.get("message"), dict):
        return content(choice["message"], f"choice {i}")
    if isinstance(choice, dict) and isinstance(choice.get("text"), str):
        return str(choice["text"])
    raise ValueError(f'choice {i} has neither a "message" nor a "text"; mend or remove the line')


def _reason(error: Raw | None) -> str:
    """Explains in one line why a request failed."""
    reason = decoded(error) if error is not None else None
    while isinstance(reason, dict):
        reason = reason.get("error") or reason.get("message") or " ".join(f"{k}={v}" for k, v in reason.items())
    return " ".join(str(reason or "no reason given").split())[:200]
