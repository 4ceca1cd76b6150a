"""Writes a run as one HTML page that works offline: every problem with its judgements, and figures of the whole run.

Problems are compressed in blocks as they arrive (RFC 1951, base64), so that memory holds one block, and the browser
decompresses a block when one of its problems is shown. The list of all problems is a separate block.
"""

import base64
import math
import zlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any, Self

import msgspec
import numpy as np

from flame_rank.io.output import Output
from flame_rank.records import Judgements, Ranking
from flame_rank.report.warnings import RunAudit
from strategies.base import FloatArray

_PROBLEMS = 64  # of a block
_BYTES = 1 << 18  # of a block before it is compressed
_START = 120  # characters of a text in the list
_MOST = 50.0  # log-odds that the page shows, in nats
_NAMES = ("style.css", "charts.js", "problem.js", "page.js")


class Report:
    """Writes the page: a context manager; `add` takes each ranking.

    The page shows judgements if the rankings have them (`Reranker(..., keep_judgements=True)`).

    Args:
      path: the file or its address; like an output, it appears only once it is complete.
      settings: the settings of the run by name, shown as texts.
      warnings: warnings from the judge's audit; the page adds those from the run itself.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, object], warnings: Sequence[str] = ()):
        self._warnings, self._audit = warnings, RunAudit()
        self._output, self._settings = Output(path), {name: str(value) for name, value in settings.items()}
        self._block: list[bytes] = []
        self._size = self._blocks = self._problems = 0
        # Compressed as it grows: a problem's line is small, but there are many.
        self._list: IO[bytes] = TemporaryFile()  # noqa: SIM115 (closed in __exit__)
        self._packer = _packer()
        self._judges: set[str] = set()
        self._strategies: set[str] = set()

    def __enter__(self) -> Self:
        self._output.__enter__()
        self._output.write(_template("head").encode())
        self._grow(b"[")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
                self._grow(b"]", last=True)
                self._list.seek(0)
                self._output.write(b'<script type="text/plain" id="list">')
                while chunk := self._list.read(3 << 14):  # threes, so that base64 goes on without padding
                    self._output.write(base64.b64encode(chunk))
                self._output.write(b"</script>\n" + self._tail())
        except BaseException as failure:
            self._output.__exit__(type(failure), failure, failure.__traceback__)
            raise
        else:
            self._output.__exit__(kind, error, trace)
        finally:
            self._list.close()

    def add(self, ranking: Ranking) -> None:
        """Adds a problem; it is on the disk once its block is full."""
        content = _problem(ranking)
        flips = len(content["flips"])
        line = msgspec.json.encode([*_line(ranking, flips > 0), self._blocks, len(self._block)])
        self._grow(line if self._problems == 0 else b"," + line)
        self._audit.add(ranking)
        self._judges.add(ranking.judge)
        self._strategies.add(ranking.strategy)
        self._problems += 1
        self._block.append(msgspec.json.encode(content))
        self._size += len(self._block[-1])
        if len(self._block) == _PROBLEMS or self._size > _BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._block:
            packer = _packer()
            packed = packer.compress(b"[" + b",".join(self._block) + b"]") + packer.flush()
            block = b'<script type="text/plain" id="b%d">%s</script>\n' % (self._blocks, base64.b64encode(packed))
            self._output.write(block)
            self._block.clear()
            self._size, self._blocks = 0, self._blocks + 1

    def _grow(self, content: bytes, *, last: bool = False) -> None:
        self._list.write(self._packer.compress(content) + (self._packer.flush() if last else b""))

    def _tail(self) -> bytes:
        from flame_rank import __version__

        own = {
            "flame-rank": __version__,
            "judge": ", ".join(sorted(self._judges)),
            "strategy": ", ".join(sorted(self._strategies)),
        }
        return _template(
            "tail", settings=own | self._settings, warnings=[*self._warnings, *self._audit.warnings()]
        ).encode()


def _packer() -> Any:
    return zlib.compressobj(6, zlib.DEFLATED, -15)


def _template(name: str, **values: Any) -> str:
    """Returns the part of the page before its blocks, or the part after them."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("flame_rank.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    sources = {file.replace(".", "_"): files("flame_rank.report").joinpath(file).read_text("utf-8") for file in _NAMES}
    return environment.get_template(f"{name}.html.jinja").render(**sources, **values) + "\n"


def _line(ranking: Ranking, flipping: bool) -> list[Any]:
    """Makes the entry of the list for a problem: its name, the beginnings of prompt and best candidate, figures, and
    warnings."""
    best = ranking.problem.texts[ranking.order[0]]
    marks = {
        "undecided": not ranking.decided,
        "tied": bool(ranking.tied),
        "unsure": ranking.unsure,
        "invalid": bool(ranking.invalid),
        "cut": bool(ranking.truncated),
        "flips": flipping,
    }
    return [
        ranking.problem.name,
        " ".join(ranking.problem.prompt[: 4 * _START].split())[:_START],
        " ".join(best[: 4 * _START].split())[:_START] if ranking.decided else "",
        len(ranking),
        ranking.comparisons,
        _rounded(ranking.p_best[ranking.order[0]]) if ranking.decided else None,
        [mark for mark, given in marks.items() if given],
    ]


def _problem(ranking: Ranking) -> dict[str, Any]:
    """Collects all that the page shows about a problem."""
    asked = ranking.judgements
    return {
        "name": ranking.problem.name,
        "prompt": ranking.problem.prompt,
        "texts": ranking.problem.texts,
        "order": ranking.order,
        "scores": [_rounded(score) for score in ranking.scores],
        "p_best": [_rounded(p) for p in ranking.p_best],
        "option": ranking.options.tolist(),
        "decided": ranking.decided,
        "tied": ranking.tied,
        "comparisons": ranking.comparisons,
        "strategy": ranking.strategy,
        "invalid": ranking.invalid,
        "reasons": ranking.reasons,
        "truncated": ranking.truncated,
        "verdict_mass": None if ranking.verdict_mass is None else _rounded(ranking.verdict_mass),
        "words": ranking.explanation,
        "asked": None if asked is None else _asked(asked),
        "flips": [] if asked is None else flips(asked),
    }


def _asked(asked: Judgements) -> list[list[Any]]:
    """Returns each comparison as [round, first, second, log-odds]; the log-odds are null if it is invalid."""
    each = zip(asked.rounds.tolist(), asked.pairs.tolist(), asked.log_odds.tolist(), strict=True)
    return [[number, *pair, None if math.isnan(value) else _rounded(value)] for number, pair, value in each]


def flips(asked: Judgements) -> list[tuple[int, int]]:
    """Returns the pairs (i, j), i < j, whose winner depends on the order in which the two were shown.

    Args:
      asked: the judgements; if an order was asked several times, their mean counts.
    """
    answers: dict[tuple[int, int], list[float]] = {}
    for (i, j), value in zip(asked.pairs.tolist(), asked.log_odds.tolist(), strict=True):
        if not math.isnan(value):
            answers.setdefault((i, j), []).append(value)
    mean = {pair: sum(values) / len(values) for pair, values in answers.items()}
    return [(i, j) for (i, j), value in mean.items() if i < j and (j, i) in mean and value * mean[j, i] > 0]


def _rounded(value: float | np.float64 | FloatArray) -> float:
    """Rounds a number to four digits, and limits it to the range that the page shows."""
    return float(f"{min(max(float(value), -_MOST), _MOST):.4g}")
