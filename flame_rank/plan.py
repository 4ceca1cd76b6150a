"""What ranking a file will take with each strategy, before anything is spent: comparisons, tokens, programs, seconds.

Must agree with flame_rank/reranker.py (what goes into one call of the judge), judges/local.py (the pieces of a
comparison, and how they are cut) and model/kernel.py (what is encoded once, and in which shapes).
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from typing import Any, Protocol, cast

import numpy as np

from flame_rank.dedupe import How, distinct
from flame_rank.errors import UserError
from flame_rank.judges.base import Judge
from flame_rank.model import buckets
from flame_rank.records import Problem
from strategies.base import IntArray, Strategy

TOGETHER = 256  # problems that are tokenised at once
FEW, MANY = 8, 128  # comparisons of a probe; so many as the reranker collects for one call only where a few are quick
QUICK = 0.25  # seconds
SAMPLE = 16  # problems that a probe takes its comparisons from


class Counted(Strategy, Protocol):
    """A strategy that knows what it may ask, as all named ones do."""

    def comparisons(self, n: int) -> tuple[int, int]:
        """The fewest and the most comparisons for n candidates."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A few comparisons that were judged and timed.

    Attributes:
      comparisons: that the judge was asked, those of the warm-up included.
      seconds: for one unit of work (a token, a candidate of a judge that looks at the pool, or a comparison); None
        where the judge answered nothing.
      compiling: seconds for one program.
      problem: why there is no number.
    """

    comparisons: int = 0
    seconds: float | None = None
    compiling: float = 0.0
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What ranking all problems with one strategy takes.

    Attributes:
      strategy: its name.
      least, most: comparisons; equal where the number does not depend on what the judge says.
      tokens: to encode, each distinct piece once, and again where the kernel's cache was emptied in between; of a T5
        whole texts. None for judges that are no local model.
      programs: distinct shapes (level, prefix bucket, own bucket, rows) that are compiled for.
      estimated: which pairs are asked depends on answers or coins: tokens, programs and seconds are those of a run
        over candidates of random qualities.
      seconds: by the probe, compiling included; None where there is none.
    """

    strategy: str
    least: int
    most: int
    tokens: int | None
    programs: int | None
    estimated: bool
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Plans:
    """The plans of a file, and what they hold for.

    Attributes:
      judge: its name.
      pointwise: it is asked the same whatever the strategy.
      problems, candidates: in the file.
      distinct: candidates without their repetitions.
      long: comparisons, of all that there may be, that are longer than max_length tokens.
      on_long: what becomes of these.
    """

    judge: str
    pointwise: bool
    problems: int
    candidates: int
    distinct: int
    long: int
    max_length: int | None
    on_long: str | None
    probe: Probe
    plans: tuple[Plan, ...]


def plan(
    problems: Iterable[Problem],
    judge: Judge,
    strategies: Sequence[Counted],
    *,
    dedupe: How = "exact",
    batch: int = 128,
) -> Plans:
    """Plans the ranking of problems; reads them as a stream.

    Args:
      strategies: to plan for; of a pointwise judge they do not matter.
      dedupe: which candidates are the same.
      batch: comparisons that are collected for one call of the judge, as in Reranker.

    Raises:
      UserError: a file is at fault, or a comparison of the probe is too long and `on_long` is "fail".
    """
    if judge.pointwise:
        from strategies.pointwise import Pointwise

        asked: list[Counted] = [Pointwise(budget=getattr(one, "budget", None)) for one in strategies]
    else:
        asked = list(strategies)
    reader = _Reader.of(judge)
    runs = [_Run(strategy, reader, batch) for strategy in asked]
    sizes: Counter[int] = Counter()  # number of distinct candidates -> problems
    candidates = 0
    sample: list[tuple[Problem, IntArray]] = []
    source = iter(problems)
    while taken := list(islice(source, TOGETHER)):
        places = [_places(problem, dedupe) for problem in taken]
        sizes.update(map(len, places))
        candidates += sum(map(len, taken))
        for problem, place in zip(taken, places, strict=True):
            if len(place) > 1 and len(sample) < SAMPLE:
                sample.append((problem, place))
        for text in reader.read(taken, places) if reader else ():
            for run in runs:
                run.add(text)
    probe = _probe(judge, sample)
    plans = []
    for strategy, run in zip(strategies, runs, strict=True):
        run.finish()
        for n, count in sizes.items():
            run.count(n, count)
        bounds = {n: run.strategy.comparisons(n) for n in sizes}
        least, most = (sum(sizes[n] * bounds[n][end] for n in sizes) for end in (0, 1))
        units = run.tokens
        if reader is None:
            units = sum(n * count for n, count in sizes.items() if n > 1) if judge.pool_aware else run.comparisons
        seconds = None if probe.seconds is None else probe.seconds * units + probe.compiling * len(run.shapes)
        plans.append(
            Plan(
                strategy=strategy.name,
                least=least,
                most=most,
                tokens=run.tokens if reader else None,
                programs=len(run.shapes) if reader else None,
                estimated=run.estimated,
                seconds=0.0 if most == 0 else seconds,
            )
        )
    return Plans(
        judge=judge.name,
        pointwise=judge.pointwise,
        problems=sizes.total(),
        candidates=candidates,
        distinct=sum(n * count for n, count in sizes.items()),
        long=reader.long if reader else 0,
        max_length=reader.max_length if reader else None,
        on_long=reader.on_long if reader else None,
        probe=probe,
        plans=tuple(plans),
    )


def _places(problem: Problem, dedupe: How) -> IntArray:
    """The first candidate of each distinct text."""
    return np.unique(distinct(problem, dedupe), return_index=True)[1]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Text:
    """How many tokens a problem has: its prompt, and each distinct candidate [d]."""

    prompt: int
    candidates: IntArray


@dataclass(kw_only=True)
class _Reader:
    """A local judge's way of making tokens of problems, and its kernel's of putting them into batches.

    Attributes:
      frame: tokens before the prompt, before each response, and behind the last.
      room: for prompt and responses.
      whole: a T5, which encodes every comparison whole.
      begun: tokens at the end of a T5's path that its decoder begins with.
      long: comparisons, of all pairs in both orders, that have no room.
    """

    values: Callable[[Sequence[str]], Sequence[Sequence[int]]]
    frame: tuple[int, int, int, int]
    room: int
    share: int
    max_length: int
    on_long: str
    whole: bool
    begun: int
    most_tokens: int
    multiple: int
    capacity: int
    long: int = 0

    @classmethod
    def of(cls, judge: Judge) -> "_Reader | None":
        """What there is to know of a local judge; None for others."""
        if not hasattr(judge, "kernel"):
            return None
        from flame_rank.judges.local import SHARE, LocalJudge
        from flame_rank.model import sharding
        from flame_rank.model.t5_kernel import T5Kernel

        if not isinstance(judge, LocalJudge):
            return None
        kernel: Any = judge.kernel
        whole = isinstance(kernel, T5Kernel)
        frame = judge.frame
        begun = len(kernel.parted([token for piece in frame for token in piece])[1]) if whole else 0
        return cls(
            values=judge.form.values,
            frame=cast(tuple[int, int, int, int], tuple(map(len, frame))),
            room=judge.room,
            share=judge.room // SHARE,
            max_length=kernel.max_length,
            on_long=judge.on_long,
            whole=whole,
            begun=begun,
            most_tokens=kernel.max_batch_tokens,
            multiple=sharding.shares(kernel.mesh),
            capacity=0 if whole else kernel.capacity,
        )

    def read(self, problems: Sequence[Problem], places: Sequence[IntArray]) -> Iterator[_Text]:
        """The tokens of problems; each distinct text is read once."""
        texts = [
            [problem.prompt, *(problem.texts[i] for i in place)]
            for problem, place in zip(problems, places, strict=True)
        ]
        unique = list(dict.fromkeys(text for one in texts for text in one))
        count = dict(zip(unique, map(len, self.values(unique)), strict=True))
        for one in texts:
            prompt, *lengths = (count[text] for text in one)
            text = _Text(prompt=prompt, candidates=np.array(lengths, np.int64))
            self.long += _too_long(text, self.room)
            yield text

    def fitted(self, prompt: IntArray, a: IntArray, b: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """The tokens [M] of prompt and responses that comparisons keep, as in judges/local.py."""
        kept_prompt = np.minimum(prompt, self.room - np.minimum(a, self.share) - np.minimum(b, self.share))
        left = self.room - kept_prompt
        kept_a = np.minimum(a, np.maximum(left // 2, left - b))
        return kept_prompt, kept_a, np.minimum(b, left - kept_a)


def _too_long(text: _Text, room: int) -> int:
    """Comparisons, of all pairs in both orders, of more than `room` tokens."""
    lengths = np.sort(text.candidates)
    if text.prompt + lengths[-2:].sum() <= room or len(lengths) < 2:
        return 0
    above = len(lengths) - np.searchsorted(lengths, room - text.prompt - lengths, side="right")
    return int(above.sum() - (text.prompt + 2 * lengths > room).sum())  # not a candidate with itself


@dataclass(kw_only=True)
class _Open:
    """A problem at work: the rounds that its schedule has left to ask, [M, 2] each."""

    number: int
    text: _Text
    rounds: list[IntArray]


@dataclass
class _Run:
    """One strategy at work on lengths instead of texts.

    Attributes:
      comparisons: asked.
      tokens: encoded.
      shapes: of programs.
      estimated: what is asked depends on answers or coins.
      used: tokens in the kernel's cache; `known` are the prefixes there.
    """

    strategy: Counted
    reader: _Reader | None
    batch: int
    comparisons: int = 0
    tokens: int = 0
    shapes: set[tuple[str, int, int, int]] = field(default_factory=set)
    estimated: bool = False
    opened: deque[_Open] = field(default_factory=deque)
    number: int = 0
    used: int = 0
    known: set[tuple[int, ...]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rounds = cache(self._rounds)

    def _rounds(self, n: int) -> list[IntArray]:
        """The rounds [M, 2] of n candidates, whose qualities are drawn at random where answers matter."""
        rounds, again = (_played(self.strategy, n, seed) for seed in (0, 1))
        same = len(rounds) == len(again) and all(map(np.array_equal, rounds, again))
        self.estimated |= not same or len(rounds) > 1 or (n > 1 and getattr(self.strategy, "order", "") == "random")
        return rounds

    def count(self, n: int, problems: int) -> None:
        """Counts the comparisons of problems with n candidates each."""
        self.comparisons += problems * sum(map(len, self.rounds(n)))

    def add(self, text: _Text) -> None:
        """Opens a problem, when those that are open leave room for it: as Reranker.rank_many does."""
        while len(self.opened) >= self.batch or self._pending() >= self.batch:
            self.call()
        self.number += 1
        self.opened.append(_Open(number=self.number, text=text, rounds=list(self.rounds(len(text.candidates)))))

    def finish(self) -> None:
        """Plays all rounds that are left."""
        while self.opened:
            self.call()

    def _pending(self) -> int:
        return sum(len(one.rounds[0]) for one in self.opened if one.rounds)

    def call(self) -> None:
        """One call of the judge: the rounds of all open problems."""
        asking = [(one, one.rounds.pop(0)) for one in self.opened if one.rounds]
        while self.opened and not self.opened[0].rounds:
            self.opened.popleft()
        reader = self.reader
        if reader is None or not asking:
            return
        lengths = [len(asked) for _, asked in asking]
        problem = np.repeat([one.number for one, _ in asking], lengths)  # [M]
        prompt = np.repeat([one.text.prompt for one, _ in asking], lengths)
        first = np.concatenate([asked[:, 0] for _, asked in asking])
        a, b = (np.concatenate([one.text.candidates[asked[:, side]] for one, asked in asking]) for side in (0, 1))
        over = prompt + a + b > reader.room
        if over.any():
            if reader.on_long == "cut":
                cut = reader.fitted(prompt, a, b)
                prompt, a, b = (np.where(over, *both) for both in zip(cut, (prompt, a, b), strict=True))
            else:
                problem, first, prompt, a, b = (column[~over] for column in (problem, first, prompt, a, b))
        if not len(problem):
            return
        before, between, behind, end = reader.frame
        columns = (problem, first, prompt + before + between, a + behind, b + end)
        if reader.whole:
            self._whole(np.add.reduce(columns[2:]) - reader.begun)
        else:
            self._shared(*columns)

    def _whole(self, lengths: IntArray) -> None:
        """Every comparison [M] as one text, as in model/t5_kernel.py."""
        self.tokens += int(lengths.sum())
        self._pack("next", lengths, np.zeros_like(lengths))

    def _shared(self, problem: IntArray, first: IntArray, prompt: IntArray, a: IntArray, b: IntArray) -> None:
        """Every distinct piece of comparisons [M] once, as in model/kernel.py."""
        assert self.reader is not None
        root, roots = _numbered(problem, prompt)
        group, groups = _numbered(root, first, a)
        own = [(int(problem[i]), int(prompt[i])) for i in roots]
        grown = [(*own[root[i]], int(first[i]), int(a[i])) for i in groups]
        new = np.array([key not in self.known for key in own])
        more = np.array([key not in self.known for key in grown])
        brings = np.zeros(len(groups), bool)  # groups that are the first of a new prompt
        brings[np.unique(root[groups], return_index=True)[1]] = new
        cells = np.cumsum(brings * prompt[groups] + more * (prompt + a)[groups])
        fits = int(np.searchsorted(cells, self.reader.capacity - self.used, side="right"))
        if fits < len(groups) and (fits or self.used):  # a full cache is emptied, and what is needed is encoded again
            columns = (problem, first, prompt, a, b)
            if fits:
                self._shared(*(column[group < fits] for column in columns))
            self.used, self.known = 0, set()
            self._shared(*(column[group >= fits] for column in columns))
            return
        self.used += int(cells[-1])
        self.known.update(own, grown)
        roots, groups = roots[new], groups[more]
        self.tokens += int(prompt[roots].sum() + a[groups].sum() + b.sum())
        self._pack("extend", prompt[roots], np.zeros(len(roots), np.int64))
        self._pack("extend", a[groups], prompt[groups])
        leaves = np.argsort(group, kind="stable")
        self._pack("score", b[leaves], (prompt + a)[leaves])

    def _pack(self, level: str, lengths: IntArray, prefixes: IntArray) -> None:
        """The shapes of a level's batches, from the tokens [M] of its pieces and of what stands before them."""
        assert self.reader is not None
        for taken, rows, T in buckets.pack(lengths.tolist(), self.reader.most_tokens, multiple=self.reader.multiple):
            self.shapes.add((level, buckets.length(int(prefixes[taken].max())), T, rows))


def _played(strategy: Strategy, n: int, seed: int) -> list[IntArray]:
    """The rounds [M, 2] of a schedule that is told differences of random qualities: small ones, none is ever sure."""
    rng = np.random.default_rng(seed)
    quality = rng.normal(scale=0.1, size=n)
    schedule = strategy.schedule(n, rng)
    rounds: list[IntArray] = []
    try:
        asked = next(schedule)
        while True:
            rounds.append(np.asarray(asked, np.int64).reshape(-1, 2))
            asked = schedule.send(quality[rounds[-1]] @ np.array([1.0, -1.0]))
    except StopIteration:
        return rounds


def _numbered(*columns: IntArray) -> tuple[IntArray, IntArray]:
    """Numbers [M] of rows, equal for equal rows and in order of appearance, and where each number appears first."""
    code = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        code = code * (int(column.max()) + 1) + column
    _, at, inverse = np.unique(code, return_index=True, return_inverse=True)
    order = np.argsort(at)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[inverse], at[order]


def _probe(judge: Judge, sample: Sequence[tuple[Problem, IntArray]]) -> Probe:
    """Asks the judge a few comparisons of the sample, once to warm it up and once by the clock."""
    if not sample:
        return Probe()
    kernel: Any = getattr(judge, "kernel", None)
    asked_in_all = 0
    probe = Probe()
    for count in (FEW, MANY) if kernel is not None else (FEW,):
        asked = list(_asked(sample, None if judge.pool_aware else count))
        comparisons = sum(len(pairs) for _, pairs in asked)
        try:
            # A function may cost money by the call; nothing is compiled for it.
            warm = asked if kernel is not None or judge.pool_aware else [(asked[0][0], asked[0][1][:1])]
            programs = getattr(kernel, "programs", 0)
            to_warm, _, _ = _timed(judge, warm)
            programs = getattr(kernel, "programs", 0) - programs
            seconds, tokens, answered = _timed(judge, asked)
        except UserError:
            raise
        except Exception as error:  # what a user's judge raises can be anything
            return replace(probe, problem=f"the judge failed ({type(error).__name__}: {error})"[:300])
        asked_in_all += comparisons + sum(len(pairs) for _, pairs in warm)
        if not answered:
            return Probe(comparisons=asked_in_all, problem="the judge answered no comparison")
        if kernel is not None:
            units = tokens
        else:
            units = sum(len({*problem.texts}) for problem, _ in asked) if judge.pool_aware else comparisons
        probe = Probe(
            comparisons=asked_in_all,
            seconds=seconds / max(1, units),
            compiling=max(0.0, to_warm - seconds) / programs if programs else probe.compiling,
        )
        if seconds > QUICK or comparisons < count:
            break
    return probe


def _asked(sample: Sequence[tuple[Problem, IntArray]], count: int | None) -> Iterator[tuple[Problem, IntArray]]:
    """The first `count` comparisons of the sample, in both orders; without a count, one of each candidate."""
    left = count
    for problem, place in sample:
        n = len(place)
        if left is None:
            pairs = np.stack([np.arange(1, n), np.zeros(n - 1, np.int64)], axis=1)
        else:
            pairs = np.argwhere(~np.eye(n, dtype=bool))[:left]
            left -= len(pairs)
        yield problem, place[pairs]
        if left == 0:
            return


def _timed(judge: Judge, asked: Sequence[tuple[Problem, IntArray]]) -> tuple[float, int, bool]:
    """Seconds that the judge takes to answer, the tokens that it encodes, and whether it answers at all."""
    kernel: Any = getattr(judge, "kernel", None)
    usage = getattr(kernel, "usage", None)
    before = usage.tokens if usage else 0
    if hasattr(kernel, "forget"):
        kernel.forget()
    fresh = [(replace(problem), pairs) for problem, pairs in asked]  # a judge remembers the problems that it has seen
    start = time.perf_counter()
    answers = judge.judge(fresh)
    seconds = time.perf_counter() - start
    answered = any(bool(np.isfinite(np.asarray(one)).any()) for one in answers)
    return seconds, (usage.tokens if usage else 0) - before, answered
