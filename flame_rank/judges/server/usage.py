"""Counts the requests to a server and their cost."""

from dataclasses import dataclass
from typing import Any

from flame_rank.judges.server.address import read_price


@dataclass(kw_only=True)
class Usage:
    """Counts of one judge, as its server reports them.

    Attributes:
      requests: the number of answered requests.
      prompt_tokens: the tokens that the model read, those from its cache included.
      cached_tokens: those of them that came from the server's cache; 0 if the server does not report it.
      completion_tokens: the tokens that the model wrote.
      bounds: the number of judgements for which the server returned only one label, so that the log-odds are a bound.
    """

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    bounds: int = 0

    def add(self, reply: Any, prompt_tokens: int = 0) -> None:
        """Counts an answer.

        Args:
          reply: the parsed answer.
          prompt_tokens: the number of tokens that were sent, for a server that does not count them.
        """
        self.requests += 1
        stated = reply.get("usage") if isinstance(reply, dict) else None
        usage = stated if isinstance(stated, dict) else {}
        details = usage.get("prompt_tokens_details")
        self.prompt_tokens += _count(usage.get("prompt_tokens")) or prompt_tokens
        self.cached_tokens += _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
        self.completion_tokens += _count(usage.get("completion_tokens"))

    @property
    def tokens(self) -> int:
        """The number of tokens that were read and written."""
        return self.prompt_tokens + self.completion_tokens

    def __str__(self) -> str:
        cached = f" ({self.cached_tokens / self.prompt_tokens:.0%} from its cache)" if self.cached_tokens else ""
        bounds = f"; {self.bounds:,} judgements are bounds" if self.bounds else ""
        return f"the server read {self.prompt_tokens:,} tokens{cached} and wrote {self.completion_tokens:,}{bounds}"

    def cost(self, price: str | None) -> float | None:
        """Computes the cost at a price such as "0.15/0.60/0.075"; None without a price."""
        if price is None:
            return None
        read, written, cached = read_price(price)
        fresh = self.prompt_tokens - self.cached_tokens
        return (fresh * read + self.cached_tokens * cached + self.completion_tokens * written) / 1e6


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
