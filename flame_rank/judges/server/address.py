"""Reads `--judge openai:MODEL@URL#OPTIONS` and `reward:MODEL@URL#OPTIONS`: a model, its server, and how it is asked."""

import math
import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from flame_rank.errors import UserError
from flame_rank.judges import spec_options
from flame_rank.judges.written import DrawOptions

OPENAI, REWARD = "openai:", "reward:"
HOSTED = "https://api.openai.com/v1"
_SPEC = re.compile(r"(?P<model>.*?)(?:@(?P<url>https?://[^#]*))?(?:#(?P<options>.*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class ServerOptions(DrawOptions):
    """How a server is asked. All of these may follow the `#` of an address, as NAME=VALUE, separated by commas.

    Attributes:
      samples: the number of verdicts that are sampled for one comparison. If it is given, verdicts are sampled even if
        the server has log-probabilities; None for 8, or 1 for a thinking judge.
      think, temperature, top_p: as in `DrawOptions`.
      concurrency: the number of requests at the same time; None for the server's number of slots, or 32 if it
        does not report it.
      requests_per_minute, tokens_per_minute: limits; None for no limit. Tokens are estimated before a request.
      deadline: the seconds after which a request without an answer is sent again; None for 120, or 600 for a thinking
        judge.
      retries: how often a request is sent again after 429, 5xx, a lost connection or an answer that cannot be read.
      effort: "low", "medium" or "high", for servers that take a reasoning effort.
      price: the price of a million tokens, "IN/OUT" or "IN/OUT/CACHED", in any currency.
      scale: for a reward model, the log-odds in nats that a difference of 1 between two rewards means.
    """

    concurrency: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    deadline: float | None = None
    retries: int = 5
    effort: str | None = None
    price: str | None = None
    scale: float = 1.0

    @property
    def patience(self) -> float:
        """The seconds that an answer may take."""
        return self.deadline or (600.0 if self.think else 120.0)


@dataclass(frozen=True, kw_only=True)
class Address:
    """A model behind a server.

    Attributes:
      model: its name at the server; empty for the server's only model.
      prefix: "openai:" or "reward:".
      url: the base URL of the OpenAI-compatible API, with "/v1" if the server uses that.
      key: the API key, which never appears in a record, ledger or message.
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
        """Removes the key from a message."""
        return message.replace(self.key, "***") if self.key else message


def parse(spec: str) -> tuple[Address, ServerOptions]:
    """Reads openai:MODEL@URL#OPTIONS; what is missing comes from OPENAI_BASE_URL and OPENAI_API_KEY.

    Raises:
      UserError: the text is not such an address, or holds a key.
    """
    prefix = next(prefix for prefix in (OPENAI, REWARD) if spec.startswith(prefix))
    match = _SPEC.fullmatch(spec.removeprefix(prefix))
    assert match is not None, "every text matches"
    model, stated = match["model"], match["options"] or ""
    url = (match["url"] or os.environ.get("OPENAI_BASE_URL") or HOSTED).rstrip("/")
    try:
        parts = urlsplit(url)
        _ = parts.port  # which is read only now
    except ValueError as error:
        raise UserError(f"--judge {prefix}{model}@{url}: it is not a URL ({error})") from None
    if "@" in model and not match["url"]:
        raise UserError(f"--judge {prefix}MODEL@URL: a URL begins with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise UserError(f"--judge {prefix}...: a key or password does not go into the URL; set OPENAI_API_KEY")
    if not parts.hostname:
        raise UserError(f"--judge {prefix}{model}@{url}: it has no host")
    if parts.path in ("", "/"):
        url += "/v1"
    if not model and url == HOSTED:
        raise UserError(f"--judge {spec}: write {prefix}MODEL@URL, such as {prefix}Qwen/Qwen3-8B@http://localhost:8000")
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not (key.isascii() and (key.isprintable() or not key)):
        raise UserError("OPENAI_API_KEY holds characters that no key has; set it again")
    address = Address(model=model, url=url, prefix=prefix, key=key)
    return address, spec_options.read(ServerOptions, spec, stated, _KINDS)


def _is_price(value: str) -> bool:
    try:
        return bool(read_price(value))
    except ValueError:
        return False


_KINDS = {
    **spec_options.DRAWN,
    "concurrency": spec_options.whole(1),
    "retries": spec_options.whole(0),
    "effort": spec_options.Kind(("low", "medium", "high").__contains__, str, "low, medium, high"),
    "price": spec_options.Kind(_is_price, str, "IN/OUT or IN/OUT/CACHED, each of a million tokens"),
}


def read_price(text: str) -> tuple[float, float, float]:
    """Returns the prices of a million tokens that are read, written, and read from the server's cache (by default the
    price of reading).

    Raises:
      ValueError: the text is not a price.
    """
    numbers = [float(part) for part in str(text).split("/")]
    if len(numbers) not in (2, 3) or not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ValueError(f"not a price: {text!r}")
    return numbers[0], numbers[1], numbers[-1] if len(numbers) == 3 else numbers[0]
