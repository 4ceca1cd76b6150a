"""The request fields that turn a model's thinking on or off; servers differ in these."""

from typing import Any
from urllib.parse import urlsplit

from flame_rank.model.chat import THINKING

# field -> what it is when a model is to think, and when it is not. The first is read by chat templates, on vLLM, SGLang
# and llama.cpp as on this machine.
SWITCHES: dict[str, tuple[Any, Any]] = {
    "chat_template_kwargs": (THINKING[True], THINKING[False]),
    "reasoning_effort": ("medium", "none"),
    "thinking": ({"type": "enabled"}, {"type": "disabled"}),
    "enable_thinking": (True, False),
}
_HOSTED = {  # the end of a host's name -> what it reads; it may refuse the others
    "openai.com": "reasoning_effort",
    "deepseek.com": "thinking",
    "z.ai": "thinking",
    "bigmodel.cn": "thinking",
    "aliyuncs.com": "enable_thinking",
}


def switches(url: str, *, think: bool, effort: str | None) -> list[dict[str, Any]]:
    """Returns alternative fields for a request, in the order in which they should be tried; the last one is empty.

    Args:
      effort: a reasoning effort that the user gave, sent with all of them.
    """
    host = urlsplit(url).hostname or ""
    known = next((field for end, field in _HOSTED.items() if host == end or host.endswith(f".{end}")), None)
    field = known or "chat_template_kwargs"
    own = {"reasoning_effort": effort} if think and effort else {}
    return [{field: SWITCHES[field][0 if think else 1], **own}, own]
