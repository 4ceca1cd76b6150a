"""Reads vLLM's RequestOutput (vllm/outputs.py): the prompt and the completions of one request, as Python
objects."""

from typing import Any

_KEPT = ("index", "cumulative_logprob", "finish_reason", "stop_reason")  # of a completion, beside its text


def fields_of(output: Any) -> dict[str, Any]:
    """Converts a RequestOutput to a problem of this library: `{"task_id", "prompt", "candidates": [{"text", ...}]}`.

    Args:
      output: an object with `prompt` and `outputs`, each of which has a `text`, as `LLM.generate` and `LLM.chat` return
        it.

    Raises:
      ValueError: the request was made from token ids, so its prompt is unknown.
    """
    if not isinstance(output.prompt, str):
        raise ValueError(
            "a RequestOutput without its prompt's text (the request had token ids); add the text: "
            "flame_rank.Problem(prompt=..., candidates=[o.text for o in output.outputs])"
        )
    candidates = [
        {"text": completion.text}
        | {key: value for key in _KEPT if (value := getattr(completion, key, None)) is not None}
        | _log_probs(completion)
        for completion in output.outputs
    ]
    name = {"task_id": str(output.request_id)} if getattr(output, "request_id", None) is not None else {}
    return {**name, "prompt": output.prompt, "candidates": candidates}


def _log_probs(completion: Any) -> dict[str, Any]:
    """Returns the log-probabilities of a completion for JSON: for each token {token id: {"logprob"}}, the sampled
    token first; empty if they were not requested."""
    rows = getattr(completion, "logprobs", None)
    if not rows:
        return {}
    return {"logprobs": [{str(i): {"logprob": entry.logprob} for i, entry in row.items()} for row in rows]}
