"""Finds out once what a server can do, and chooses the best path to a verdict that works."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from flame_rank.errors import UserError
from flame_rank.judges.options import OnLong
from flame_rank.judges.server import paths
from flame_rank.judges.server.address import Address
from flame_rank.judges.server.client import CONCURRENCY, Client, Refused, Unanswered
from flame_rank.judges.server.prompts import Comparison, TokenPrompts
from flame_rank.judges.server.thinking import switches
from flame_rank.judges.server.tokenizer import ServerTokenizer
from flame_rank.judges.written import answer_limit
from flame_rank.prompts.format import Format
from flame_rank.prompts.instructions import Instructions
from flame_rank.records import Problem

_PROBE = Problem(prompt="What is 2 + 2?", candidates=("2 + 2 is 4.", "2 + 2 is 5."))
_DRAWN = 8  # verdicts of a comparison


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """How a server is asked from now on.

    Attributes:
      path: the best path that works.
      concurrency: the number of requests at the same time.
      form: the unified format in the server's tokens and template; None if the server offers neither.
      weights: the server's information about the model's weights, for the judge's identity.
      fields: the fields that a chat request needs for this server.
    """

    path: paths.Path
    concurrency: int
    form: Format | None
    weights: str
    fields: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a judge needs from its server; the values are those of `flame_rank.load_judge`.

    Attributes:
      letters: whether letters other than A and B are read, too; label scores do not include these.
    """

    instructions: Instructions
    max_length: int | None = None
    on_long: OnLong = "cut"
    template: str | None = None
    letters: bool = False


def discover(client: Client, wanted: Wanted, wait: Callable[[Awaitable[Any]], Any]) -> Capabilities:
    """Finds out what a server can do.

    Args:
      wait: returns the result of an awaitable.

    Raises:
      UserError: the server cannot be reached, or no path works.
    """
    try:
        model, weights = wait(find_model(client))
        client.address = model
        options = client.options
        concurrency = options.concurrency or wait(_slots(client)) or CONCURRENCY
        drawn = options.think is not None or options.samples is not None
        form, tokenizer = (None, None) if drawn else _form(client, wanted, wait)
        refusals: list[str] = []
        if form is not None and tokenizer is not None:
            path = _token_path(client, wanted, form, tokenizer, wait, refusals)
            if path is not None:
                return Capabilities(path=path, concurrency=concurrency, form=form, weights=weights, fields={})
        path, fields = wait(_chat_path(client, wanted, drawn, refusals))
        return Capabilities(path=path, concurrency=concurrency, form=None, weights=weights, fields=fields)
    except (Unanswered, Refused) as error:
        raise UserError(
            f"--judge {client.address.name}: the server does not answer ({error}); is it running?"
        ) from None


async def find_model(client: Client) -> tuple[Address, str]:
    """Returns the address with the model's name, and the server's information about its weights."""
    try:
        listed = await client.get("/models")
    except Refused:  # it has no list, or this key may not see it
        listed = None
    data = listed.get("data") if isinstance(listed, dict) else None
    entries = [entry for entry in data or [] if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
    address = client.address
    if not address.model:
        if len(entries) != 1:
            names = ", ".join(entry["id"] for entry in entries[:8])
            has = f"it has {names}" if names else "it lists none"
            raise UserError(f"--judge {address.name}: name the server's model (openai:MODEL@URL); {has}")
        address = replace(address, model=entries[0]["id"])
    own = next((entry for entry in entries if entry["id"] == address.model), {})
    stated = own.get("meta")
    meta = stated if isinstance(stated, dict) else {}
    return address, repr([own.get("root"), *(meta.get(name) for name in ("n_params", "size", "ftype"))])


async def _slots(client: Client) -> int | None:
    """Returns how many requests llama.cpp processes at the same time, each with its own cache; None for other
    servers."""
    try:
        properties = await client.get("/props", own=True)
    except (Refused, Unanswered):
        return None
    slots = properties.get("total_slots") if isinstance(properties, dict) else None
    return slots if isinstance(slots, int) and slots > 0 else None


def _form(client: Client, wanted: Wanted, wait: Callable[[Awaitable[Any]], Any]) -> Any:
    """Returns the unified format in the server's tokens, and its tokenizer; both None if the server offers no
    tokenizer."""
    tokenizer = ServerTokenizer(client, wait)
    if not wait(tokenizer.open()):
        return None, None
    around = None if wanted.template == "plain" else wait(tokenizer.template())
    if around is None and wanted.template != "plain":
        return None, None  # the chat path has the template
    return Format(tokenizer, chat=around), tokenizer


def _token_path(
    client: Client,
    wanted: Wanted,
    form: Format,
    tokenizer: ServerTokenizer,
    wait: Callable[[Awaitable[Any]], Any],
    refusals: list[str],
) -> paths.Path | None:
    """Returns the best path on token ids; None if none works."""
    lengths = [length for length in (wanted.max_length, tokenizer.max_length or wait(_context(client))) if length]
    length = min(lengths, default=None)
    try:
        tokens = TokenPrompts(form, wanted.instructions, max_length=length, on_long=wanted.on_long)
    except ValueError as error:
        refusals.append(str(error))
        return None
    tokens.prepare([_PROBE])
    scores = () if wanted.letters else (paths.SglangScores, paths.VllmScores)
    for kind in (*scores, paths.LabelLogProbs, paths.TopLogProbs):
        path: Any = kind(client, tokens)
        if wait(_works(path, refusals)):
            return cast(paths.Path, path)
    return None


async def _context(client: Client) -> int | None:
    """Returns the length of llama.cpp's context, less one token for the answer; None for other servers."""
    try:
        properties = await client.get("/props", own=True)
        length = properties["default_generation_settings"]["n_ctx"]
    except (Refused, Unanswered, LookupError, TypeError):
        return None
    return length - 1 if isinstance(length, int) and length > 1 else None


async def _works(path: Any, refusals: list[str]) -> bool:
    """Tells whether a path judges the probe, and notes the reason if it does not."""
    try:
        if isinstance(path, paths.LabelLogProbs):
            await path.open()
        (judgement,) = await path.ask([Comparison(_PROBE, 0, 1)])
    except (Refused, Unanswered) as error:
        refusals.append(f"{path.name}: {error}")
        return False
    if judgement.reason:
        refusals.append(f"{path.name}: {judgement.reason}")
    return judgement.reason is None


async def _chat_path(client: Client, wanted: Wanted, drawn: bool, refusals: list[str]) -> Any:
    """Returns the best path through the chat endpoint, and the fields that its requests need.

    Raises:
      UserError: no path works.
    """
    options = client.options
    if not drawn:
        for width in (20, 5):
            for fields in _fields(client, 1, 0.0, 1.0):
                path: Any = paths.ChatLogProbs(client, wanted.instructions, fields, width)
                if await _works(path, refusals):
                    return path, fields
    thinks = options.think is not None
    limit = paths.SHORT if options.think is None else answer_limit(options.think)
    samples = options.samples or (1 if thinks else _DRAWN)
    for fields in _fields(client, limit, options.temperature, options.top_p):
        with_log_probs = [{**fields, "logprobs": True, "top_logprobs": 20}] if thinks else []
        for chosen in [*with_log_probs, fields]:

            def make(samples: int, fields: dict[str, Any] = chosen) -> paths.Drawn:
                return paths.Drawn(client, wanted.instructions, fields, samples=samples, think=options.think)

            if await _answers(make(1), refusals):
                return make(samples), chosen
    last = refusals[-1] if refusals else "nothing works"
    more = "" if thinks else "; if it thinks before it answers, #think=4096 gives it tokens to do so"
    raise UserError(f"--judge {client.address.name}: no path to a verdict works ({last}{more})")


async def _answers(path: paths.Drawn, refusals: list[str]) -> bool:
    """Tells whether a server accepts the requests for sampled verdicts, and one of three answers has a verdict."""
    for _ in range(3):
        try:
            (judgement,) = await path.ask([Comparison(_PROBE, 0, 1)])
        except (Refused, Unanswered) as error:
            refusals.append(f"{path.name}: {error}")
            return False
        if judgement.reason is None:
            return True
        refusals.append(f"{path.name}: {judgement.reason}")
    return False


def _fields(client: Client, limit: int, temperature: float, top_p: float) -> Sequence[dict[str, Any]]:
    """Returns the fields that limit an answer and make a model think; servers differ in these."""
    options = client.options
    quiet = switches(client.address.url, think=options.think is not None, effort=options.effort)
    warm = {"temperature": temperature, **({"top_p": top_p} if top_p < 1 else {})}
    limits: tuple[dict[str, Any], ...] = (
        {"max_tokens": limit, **warm},
        {"max_completion_tokens": limit, **warm},
        {"max_completion_tokens": limit},
    )
    return [{**some, **switch} for some in limits for switch in quiet]
