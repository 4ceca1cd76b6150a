"""Samples of lm-evaluation-harness (`--log_samples`): each line is a document, with its generations in `resps`.

`{"doc_id", "doc", "target", "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": options}}, "resps": [[text, ...]],
"filtered_resps", ...}`; in Python, and in files written before 0.4.3, the arguments are lists: `[[prompt, options]]`.
The candidates are the repeats of a generation. Requests for likelihoods have no text that could be ranked.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from flame_rank.io.formats.base import RAWS, Fields, Parsed, Raw, decoded, kind_of, needed, strings, text

_TOOL = "lm-evaluation-harness"


@dataclass(frozen=True)
class LmEval:
    """The format of lm-evaluation-harness's samples."""

    name: str = "lm-eval"

    def fits(self, fields: Fields) -> bool:
        """Tells whether a line is a document with its requests and responses."""
        return {"doc_id", "arguments", "resps"} <= fields.keys()

    def flat(self, fields: Fields) -> bool:
        """Returns False: a line is a whole problem."""
        return False

    def parse(self, fields: Fields) -> Parsed:
        """Reads the prompt and the repeats of its generation."""
        needed(fields, "resps", _TOOL)
        if kind_of(fields["resps"]) != "a list" or not (requests := RAWS.decode(fields["resps"])):
            raise ValueError('"resps" is not a list of responses; mend or remove the line')
        if len(requests) > 1 or (kind_of(requests[0]) == "a list" and _of_likelihood(requests[0])):
            raise ValueError(
                f"{len(requests)} requests for likelihoods, from a multiple-choice task; only generated texts can "
                "be ranked: log the samples of a generating task (output_type: generate_until)"
            )
        originals = RAWS.decode(requests[0]) if kind_of(requests[0]) == "a list" else requests
        prompt, messages = _prompt(decoded(needed(fields, "arguments", _TOOL)))
        name = decoded(fields["doc_id"]) if "doc_id" in fields else None
        return Parsed(
            prompt=prompt,
            candidates=strings(msgspec.Raw(msgspec.json.encode(originals)), '"resps"[0]'),
            originals=originals,
            messages=messages,
            name=name if isinstance(name, str | int) else None,
        )


def _of_likelihood(response: Raw) -> bool:
    """Tells whether a response is [log-probability, whether it is the greedy one]."""
    items = RAWS.decode(response)
    return bool(items) and kind_of(items[0]) == "a list"


def _prompt(arguments: Any) -> tuple[str, Raw | None]:
    """Returns the first argument of the only request; for a chat model's server it is messages, written as JSON."""
    try:
        request = arguments["gen_args_0"] if isinstance(arguments, dict) else arguments[0]
        if isinstance(request, str):  # whose first letter is no prompt
            raise TypeError
        given = request["arg_0"] if isinstance(request, dict) else request[0]
    except (KeyError, IndexError, TypeError):
        raise ValueError('"arguments" has no prompt (gen_args_0, arg_0); mend or remove the line') from None
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], str):
        try:
            messages = msgspec.Raw(given[0].encode())
            return text(messages, "the prompt"), messages
        except (msgspec.DecodeError, IndexError):
            raise ValueError("the prompt is a list that holds no messages; mend or remove the line") from None
    raw = msgspec.Raw(msgspec.json.encode(given))
    return text(raw, "the prompt"), raw if kind_of(raw) == "a list" else None
