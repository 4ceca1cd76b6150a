"""Writes rankings as lines of JSONL: to standard output, or to a file that appears only once it is complete."""

import errno
import gzip
import math
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import IO, Any, Self, cast

import msgspec

from flame_rank.errors import UserError
from flame_rank.io import parquet
from flame_rank.io.late_interrupt import LateInterrupt
from flame_rank.io.lines import BadLine
from flame_rank.io.remote import check_address, is_url, put_file
from flame_rank.io.writing import lock, places, release
from flame_rank.records import TEXT_KEYS, Candidate, FlatRecord, GroupedRecord, Problem, Ranking, RawFields

RESULT_KEYS = (
    *("ranking", "scores", "p_best", "best", "comparisons", "strategy", "judge"),
    *("p_top", "tied", "unsure", "invalid", "reasons", "truncated", "verdict_mass", "by_judge", "explanation"),
    *("warnings", "top"),
)

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])


def to_lines(ranking: Ranking, top: int | None = None) -> bytes:
    """Encodes a ranking as JSONL: all fields of the problem as they were read, in their order, and then the result.

    A problem is one line; the samples of a flat file become a list in it. With `top`, a problem of a flat file becomes
    its best lines instead, each with `rank` (from 1) and `score`, and with `decided` if that is false.

    Args:
      ranking: the ranking of a problem that was read from a file or made in Python.
      top: the number of best candidates to write (fewer if there are fewer); None writes only their indices.

    Returns:
      Whole lines, each with its newline.

    Raises:
      ValueError: top is less than 1, or a score is not finite.
    """
    if top is not None and top < 1:
        raise ValueError(f"top is {top}; it must be 1 or more")
    scores = list(map(float, ranking.scores.tolist()))
    if not all(map(math.isfinite, scores)):
        raise ValueError(
            f"{ranking.problem.name}: a score is not finite; the strategy {ranking.strategy} must return finite scores"
        )
    record = ranking.problem.record
    if isinstance(record, FlatRecord) and top is not None:
        lines = []
        for rank, i in enumerate(ranking.order[:top], 1):
            fields: dict[str, Any] = dict(_OBJECT.decode(record.lines[i]))
            again = "rank" in fields  # the line is the output of an earlier run
            if again:
                fields.pop("decided", None)
            fields |= {"rank": rank, score_name(fields, again=again): scores[i]} | (
                {} if ranking.decided else {"decided": False}
            )
            lines.append(msgspec.json.encode(fields) + b"\n")
        return b"".join(lines)
    fields = _input(ranking.problem)
    if "ranking" in fields:  # of an earlier run, which may have had reason for fields that this one does not write
        fields = {name: value for name, value in fields.items() if name not in RESULT_KEYS}
    order = ranking.order
    fields |= {
        "ranking": order,
        "scores": scores,
        "p_best": ranking.p_best.tolist(),
        "best": order[0] if ranking.decided else None,
        "comparisons": ranking.comparisons,
        "strategy": ranking.strategy,
        "judge": ranking.judge,
    }
    if ranking.standing.p_top is not None:
        fields["p_top"] = ranking.standing.p_top
    if ranking.tied:
        fields["tied"] = ranking.tied
    if ranking.unsure:
        fields["unsure"] = True
    if ranking.invalid:
        fields |= {"invalid": ranking.invalid, "reasons": ranking.reasons}
    if ranking.truncated:
        fields["truncated"] = ranking.truncated
    if ranking.verdict_mass is not None:
        fields["verdict_mass"] = ranking.verdict_mass
    if ranking.by_judge is not None:
        fields["by_judge"] = {name: scores.tolist() for name, scores in ranking.by_judge.items()}
    if ranking.explanation is not None:
        fields["explanation"] = ranking.explanation
    if ranking.warnings:
        fields["warnings"] = ranking.warnings
    if top is not None:
        candidates = _candidates(ranking.problem)
        fields["top"] = [candidates[i] for i in order[:top]]
    return ENCODER.encode(fields) + b"\n"


def score_name(fields: Mapping[str, Any], *, again: bool) -> str:
    """Returns the field for a score: `rank_score` if the sampler's own `score`, such as verl's reward, has to stay.

    Args:
      again: whether the fields are the output of an earlier run, which has written one of the two.
    """
    return "rank_score" if "rank_score" in fields or ("score" in fields and not again) else "score"


def _plain_number(value: Any) -> Any:
    """Converts a numpy scalar or array, which a candidate's fields may hold, to a number or a list."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a field of a candidate is of type {type(value).__name__}, which JSON cannot represent")


ENCODER = msgspec.json.Encoder(enc_hook=_plain_number)  # for output records


def _input(problem: Problem) -> dict[str, Any]:
    """Returns the fields that state a problem."""
    record = problem.record
    if isinstance(record, GroupedRecord):
        return dict(record.fields)
    if isinstance(record, FlatRecord):
        return {record.group_by: record.group, "prompt": problem.prompt, "samples": _candidates(problem)}
    name = {"task_id": problem.name} if problem.name else {}
    return {**name, "prompt": problem.prompt, "candidates": _candidates(problem)}


def _candidates(problem: Problem) -> list[Any]:
    """Returns the candidates in the form that they have in the fields."""
    record = problem.record
    if isinstance(record, GroupedRecord):
        return list(_RAWS.decode(record.fields[record.key]) if record.originals is None else record.originals)
    if isinstance(record, FlatRecord):
        samples = [msgspec.Raw(line) for line in record.lines]
        if record.texts is None:
            return samples
        return [_with_text(line, text) for line, text in zip(samples, record.texts, strict=True)]
    return [c if isinstance(c, str) else candidate_fields(c) for c in problem.candidates]


def _with_text(line: msgspec.Raw, text: str) -> Any:
    """Returns another tool's sample with its text in a field that this library reads."""
    fields = _OBJECT.decode(line)
    key = next((key for key in TEXT_KEYS if key in fields), None)
    own = key is not None and bytes(fields[key])[:1] == b'"'
    return line if own else {"completion": text} | fields


def candidate_fields(candidate: Candidate) -> dict[str, Any]:
    """Returns a candidate as the fields of a JSON object."""
    fields = candidate.fields.raw if isinstance(candidate.fields, RawFields) else candidate.fields
    before = TEXT_KEYS[: TEXT_KEYS.index(candidate.key) + 1]  # a reader would take the text from one of these first
    return {candidate.key: candidate.text} | {name: fields[name] for name in fields if name not in before}


class Output:
    """Writes whole lines to standard output, or to FILE.part, which is renamed to FILE if writing ends without an
    error.

    After an exception FILE is unchanged, and FILE.part holds what was written. If FILE exists and is not a regular file
    (a pipe, /dev/null, the link /dev/stdout), it is written to directly. Only one process at a time writes a file. If
    FILE ends in .gz, it is compressed, and FILE.part can be decompressed after each write. If FILE ends in .parquet,
    FILE.part holds JSONL.
    Output for an address is kept in a local file until it is complete.

    Args:
      path: the file or its address; None or "-" for standard output.

    Raises:
      OSError: the file cannot be opened or written, because the disk is full for example; the error names the file.
      UserError: another process is writing the file, or its name asks for a compression other than gzip.
    """

    def __init__(self, path: str | Path | None):
        self._address = str(path) if is_url(path) else None
        if self._address is not None:
            path = Path(mkdtemp(prefix="flame-rank-"), self._address.rsplit("/", 1)[-1])
        self._path = None if path is None or str(path) == "-" else Path(path)
        if self._path and self._path.suffix in (".xz", ".zst", ".bz2", ".zip"):
            raise UserError(
                f"{path}: output can be JSONL, .gz or .parquet; choose such a name, and compress the file afterwards"
            )
        self._part: Path | None = None
        if self._path is not None:
            self._path, self._part = places(self._path)
        if self._address is not None:
            check_address(self._address)
        if self._path is not None and self._path.suffix == ".parquet":
            parquet.check_installed()
        self._name = str(self._part or self._path or "stdout")
        self._stream: IO[bytes] | None = None
        self._plain: IO[bytes] | None = None  # the file below the compressing stream
        self._lock: int | None = None
        self._interrupt = LateInterrupt()

    @property
    def kept(self) -> Path | None:
        """The file that holds what was written if writing ends with an error; None if there is none."""
        return self._part

    def __enter__(self) -> Self:
        if self._path is None:
            if sys.stdout is None:
                raise OSError(errno.EBADF, "the stream is closed", self._name)
            self._stream = sys.stdout.buffer
        elif self._part is None:
            self._stream = self._path.open("wb")
        else:
            self._lock = lock(self._part)
            os.ftruncate(self._lock, 0)
            self._stream = open(self._lock, "wb", closefd=False)
        if self._path and self._path.suffix == ".gz":
            self._plain = self._stream
            self._stream = cast(IO[bytes], gzip.GzipFile("", "wb", fileobj=self._stream, mtime=0))
        self._interrupt.install()
        return self

    def write(self, lines: bytes) -> None:
        """Writes whole lines, and flushes them at once."""
        assert self._stream is not None, "an Output is written to inside its with block"
        try:
            self._interrupt.begin()
            rest = memoryview(lines)
            while rest:  # an unbuffered stream (python -u) takes a part if a signal comes in between
                rest = rest[self._stream.write(rest) :]
            self._stream.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._name) from error
        self._interrupt.end()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._interrupt.restore()
        if self._path is None or self._stream is None:
            return
        try:
            if kind is not None:
                with suppress(OSError):  # closing tries once more to write what could not be written
                    self._close()
                return
            try:
                self._close()
            except OSError as error:
                raise OSError(error.errno, error.strerror, self._name) from error
            if self._part is not None and self._lock is not None:
                os.fsync(self._lock)  # else a crash could leave the name without the content
                if self._path.suffix == ".parquet":
                    packed = self._path.with_name(self._path.name + ".packed")
                    with open(self._lock, "rb", closefd=False) as lines:  # closing it would end the lock
                        parquet.write(lines, packed, output=self._path, kept=self._part)
                    packed.replace(self._path)
                    self._part.unlink()
                else:
                    self._part.replace(self._path)
            if self._address is not None:
                put_file(self._path, self._address)
                shutil.rmtree(self._path.parent)
        finally:
            if self._lock is not None:
                release(self._lock)
                self._lock = None

    def _close(self) -> None:
        assert self._stream is not None
        try:
            self._stream.close()
        finally:
            if self._plain is not None:
                self._plain.close()


class Quarantine:
    """Appends bad lines, as they were read, to a file; an `on_bad_line` callback.

    Attributes:
      path: the file, which is made at the first bad line.
      count: the number of bad lines so far.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.count = 0

    def __call__(self, error: BadLine, line: bytes) -> None:
        """Appends a line. The file is opened for each line, so that nothing has to be closed."""
        try:
            with self.path.open("ab") as file:
                file.write(line if line.endswith(b"\n") else line + b"\n")
        except OSError as problem:
            raise OSError(problem.errno, problem.strerror, str(self.path)) from problem
        self.count += 1
