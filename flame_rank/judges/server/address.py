"""What `--judge openai:MODEL@URL#OPTIONS` and `reward:MODEL@URL#OPTIONS` name: a model, its server, and how it is
asked."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlsplit

from flame_rank.errors import UserError

OPENAI, REWARD = "openai:", "reward:"
HOSTED = "https://api.openai.com/v1"
_SPEC = re.compile(r"(?P<model>.*?)(?:@(?P<url>https?://[^#]*))?(?:#(?P<options>.*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """How a server is asked; all may stand behind the `#` of an address, NAME=VALUE and commas between.

    Attributes:
      concurrency: requests at once; None for the server's own number of slots, or 32 where it does not say.
      requests_per_minute, tokens_per_minute: at most; None without a limit. Tokens are estimated before a request.
      deadline: seconds that an answer may take before it is asked again; None for 120, or 600 of a thinking judge.
      retries: how often a request is sent again after 429, 5xx, a lost connection or an answer that cannot be read.
      samples: verdicts that are drawn for one comparison; given, verdicts are drawn though the server has
        log-probabilities. Without it 8, or 1 of a thinking judge.
      think: tokens that the judge may reason for before its verdict; None for a verdict at once.
      effort: "low", "medium" or "high", for servers that take a reasoning effort.
      temperature: of drawn verdicts and reasoning.
      price: of a million tokens, "IN/OUT" or "IN/OUT/CACHED", in a currency of yours.
      scale: of a reward model, log-odds in nats of a difference of 1 between two rewards.
    """

    concurrency: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    deadline: float | None = None
    retries: int = 5
    samples: int | None = None
    think: int | None = None
    effort: str | None = None
    temperature: float = 1.0
    price: str | None = None
    scale: float = 1.0

    @property
    def patience(self) -> float:
        """Seconds that an answer may take."""
        return self.deadline or (600.0 if self.think else 120.0)

    def with_given(self, given: Mapping[str, str]) -> "ServerOptions":
        """Returns these options with others in their place, as they stand in an address.

        Raises:
          UserError: there is no such option, or it has no such value.
        """
        names = {option.name for option in fields(self)}
        if unknown := [name for name in given if name not in names]:
            raise UserError(f"--judge ...#{unknown[0]}: a server's judge takes {', '.join(sorted(names))}")
        return replace(self, **{name: _value(name, value) for name, value in given.items()})


@dataclass(frozen=True, kw_only=True)
class Address:
    """A model behind a server.

    Attributes:
      model: its name there; empty for the only one that the server has.
      prefix: "openai:" or "reward:".
      url: where the OpenAI-compatible paths begin, with "/v1" if the server has it.
      key: what the server is shown; it is in no record, ledger or message.
    """

    model: str
    url: str
    prefix: str = OPENAI
    key: str = ""

    @property
    def root(self) -> str:
        """The base URL for the server's own paths, outside the OpenAI API."""
        return self.url.removesuffix("/v1")

    @property
    def name(self) -> str:
        return f"{self.prefix}{self.model}@{self.url}"

    def hide(self, message: str) -> str:
        """Returns a message without the key."""
        return message.replace(self.key, "***") if self.key else message


def parse(spec: str) -> tuple[Address, ServerOptions]:
    """Reads openai:MODEL@URL#OPTIONS; what is missing comes from OPENAI_BASE_URL and OPENAI_API_KEY.

    Raises:
      UserError: it is none, or it holds a key.
    """
    prefix = next(prefix for prefix in (OPENAI, REWARD) if spec.startswith(prefix))
    match = _SPEC.fullmatch(spec.removeprefix(prefix))
    assert match is not None, "every text matches"
    model, stated = match["model"], match["options"] or ""
    url = (match["url"] or os.environ.get("OPENAI_BASE_URL") or HOSTED).rstrip("/")
    parts = urlsplit(url)
    if "@" in model and not match["url"]:
        raise UserError(f"--judge {prefix}MODEL@URL: a URL begins with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise UserError(f"--judge {prefix}...: a key or password does not go into the URL; set OPENAI_API_KEY")
    if not parts.hostname:
        raise UserError(f"--judge {prefix}{model}@{url}: it has no host")
    if parts.path in ("", "/"):
        url += "/v1"
    if not model and url == HOSTED:
        raise UserError(f"--judge {spec}: it is {prefix}MODEL@URL, such as {prefix}Qwen/Qwen3-8B@http://localhost:8000")
    options = {}
    for part in filter(None, stated.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise UserError(f"--judge {spec}: {part!r} behind the # is not NAME=VALUE")
        options[name.strip().replace("-", "_")] = value.strip()
    address = Address(model=model, url=url, prefix=prefix, key=os.environ.get("OPENAI_API_KEY", ""))
    return address, ServerOptions().with_given(options)


_WHOLE = {"concurrency": 1, "samples": 1, "think": 1, "retries": 0}  # and the least value of each
_EFFORTS = ("low", "medium", "high")


def _value(name: str, value: str) -> Any:
    try:
        if name in _WHOLE:
            number: float = int(value)
            if number < _WHOLE[name]:
                raise ValueError
            return number
        if name == "price":
            read_price(value)
            return value
        if name == "effort":
            if value not in _EFFORTS:
                raise ValueError
            return value
        number = float(value)
        if not (math.isfinite(number) and (number > 0 or (name == "temperature" and number == 0))):
            raise ValueError
        return number
    except (TypeError, ValueError):
        kinds = {
            "price": "IN/OUT or IN/OUT/CACHED, each of a million tokens",
            "effort": ", ".join(_EFFORTS),
            **{name: f"a whole number, {least} or more" for name, least in _WHOLE.items()},
        }
        raise UserError(f"--judge ...#{name}={value}: it is {kinds.get(name, 'a positive number')}") from None


def read_price(text: str) -> tuple[float, float, float]:
    """Returns what a million tokens cost: read, written, read from the server's cache (as read, if it is not given).

    Raises:
      ValueError: it is no price.
    """
    numbers = [float(part) for part in str(text).split("/")]
    if len(numbers) not in (2, 3) or not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ValueError(f"no price: {text!r}")
    return numbers[0], numbers[1], numbers[-1] if len(numbers) == 3 else numbers[0]
