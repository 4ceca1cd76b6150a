"""Learns how much each kind of evidence counts in the judge that ships, for a language model: `flame-train default`."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from flame_rank.candidates.refusals import is_refusal
from flame_rank.errors import UserError
from flame_rank.io import json_file
from flame_rank.io.run_settings import check_settings
from flame_rank.io.writing import write_whole
from flame_rank.judges import checkpoint
from flame_rank.judges.default.pool import (
    AGREEMENT,
    EVIDENCE,
    READING,
    SETTINGS,
    JudgeSettings,
    Kind,
    ModelFile,
    PoolEvidence,
    PoolJudge,
    parts_to_read,
)
from flame_rank.judges.likelihood import Part, Reader
from flame_rank.records import Problem
from trainer.collection.decontamination import index_evaluation
from trainer.collection.tasks import TASKS
from trainer.default_judge import ablation
from trainer.default_judge.combine import Judged, calibration, draw, group, learn, right_ones, scaled
from trainer.default_judge.corruptions import damages
from trainer.default_judge.pools import pools_without_overlap, read_pools
from trainer.default_judge.sources import SOURCES, comparisons_without_overlap, read
from trainer.measuring.human_pairs import BENCHMARKS, available_benchmarks, read_pairs
from trainer.measuring.intervals import Interval

MAX_LENGTH = 1024  # tokens of prompt and candidate that the model reads
FIGURES = "figures.json"
RECIPE = "recipe.json"  # what a run was begun with
CANDIDATES = 60  # that are read of a source: none may take an hour
OF_A_PROMPT = 6
DAMAGED_NAME = ", damaged"
DAMAGED = 8  # prompts of each source of whole replies whose replies are damaged
PROGRAMS = 270  # MBPP problems
REFUSED = "hh-harmless"  # the source whose prompts ask for what is not to be given
BATCH = 16  # problems that are read together, and kept

WORTH = 0.005  # of right picks that reading the prompt behind each candidate has to add: it costs as much as all else
_OUTSIDE = tuple(name for name in EVIDENCE if name not in READING)
MEASURED = ("HHH", "Expert LFQA", "LLMBar Natural", "LLMBar Adversarial")
LEARNED: tuple[Kind, ...] = ("texts", "answers", "few programs", "programs")  # answers start from texts
KINDS: tuple[Kind, ...] = ("programs", "few programs", "answers", "texts")


def build(
    data: Path,
    model: ModelFile,
    path: Path,
    out: Path,
    *,
    seed: int = 0,
    without: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> None:
    """Reads the problems with a model, learns the weights and writes the judge to `out`; goes on where an earlier run
    with the same arguments ended.

    Args:
      data: the folder of data sets (or one whose `train` is that).
      model: what judge.json says of the model.
      path: where the model lies.
      out: where the judge goes, with its figures and what the model read.
      without: kinds of evidence that are not read.

    Raises:
      UserError: something is missing from `data`, or the model cannot be read, or `out` was begun with another.
    """
    reader = checkpoint.load_reader(path, max_length=MAX_LENGTH)
    out.mkdir(parents=True, exist_ok=True)
    settings = {"model": reader.name, "seed": seed, "without": sorted(without)}
    check_settings(out / RECIPE, settings)
    write_whole(out / RECIPE, json.dumps(settings) + "\n")
    combine(_problems(data, seed, say), data, model, reader, out, say, without)


def combine(
    problems: dict[str, list[Judged]],
    data: Path,
    model: ModelFile,
    reader: Reader,
    out: Path,
    say: Callable[[str], None],
    without: Sequence[str] = (),
) -> None:
    """Reads problems by source, learns the weights, writes judge.json, and measures it on pairs that people judged."""
    everything = parts_to_read({name: 1.0 for name in EVIDENCE if name not in without})
    nothing: dict[Kind, dict[str, float]] = {kind: {} for kind in KINDS}
    judge = PoolJudge(JudgeSettings(model=None, max_length=MAX_LENGTH, reading=nothing, alone=nothing), reader)
    judged: list[Judged] = []
    seen: list[PoolEvidence] = []
    sources: list[str] = []
    for name, some in problems.items():
        parts = parts_to_read({"forward": 1.0}) if name.startswith("MBPP") else everything
        judged += some
        sources += [name] * len(some)
        read_here = _read(judge, some, parts, out, name, say)
        seen += [_apart(one) for one in read_here] if name.endswith(DAMAGED_NAME) else read_here
    figures: dict[str, object] = {}
    reading: dict[Kind, dict[str, float]] = {}
    alone: dict[Kind, dict[str, float]] = {}
    for kind in LEARNED:
        of = [i for i in range(len(seen)) if _kind(sources[i], seen[i]) == kind]
        known = [judged[i] for i in of], [seen[i] for i in of], [sources[i] for i in of]
        if len({one.problem.prompt for one in known[0]}) < ablation.FOLDS:
            raise UserError(f"{kind}: {len(of)} problems, {ablation.FOLDS} are needed; --data holds too little")
        figures[kind] = rows = ablation.table(*known, kind)
        _say_table(kind, rows, say)
        useful = [name for name in EVIDENCE if name != "reverse" or ablation.adds("reverse", rows) >= WORTH]
        # In pools of programs agreement says most and costs nothing: there the model is read where that adds to it.
        if kind == "programs" and ablation.gain(*known) <= 0:
            useful = list(_OUTSIDE)
        for weights, using in ((reading, useful), (alone, list(_OUTSIDE))):
            if kind == "answers":  # hardly any: they are like other texts, but for what agreement is worth
                others = {name: weight for name, weight in weights["texts"].items() if name not in AGREEMENT}
                weights[kind] = learn(*known, using=AGREEMENT, fixed=others)
                continue
            factor = calibration(known[0], ablation.left_out(*known, using), known[2])
            weights[kind] = scaled(learn(*known, using=using), factor)
    settings = JudgeSettings(model=model, max_length=MAX_LENGTH, reading=reading, alone=alone)
    (out / SETTINGS).write_bytes(msgspec.json.format(msgspec.json.encode(settings)) + b"\n")
    (out / FIGURES).write_text(json.dumps(figures, indent=1) + "\n")
    final = PoolJudge(settings, reader)
    for name in available_benchmarks(data):
        if name in MEASURED:
            better = np.array([[0, 1]], np.int64)
            compared = [Judged(problem=problem, pairs=better) for problem in read_pairs(BENCHMARKS[name], data)]
            people = ablation.of_weights(compared, _read(final, compared, None, out, name, say), final.weights)
            figures[name] = people
            _say_table("people", {name: people}, say)
    (out / FIGURES).write_text(json.dumps(figures, indent=1) + "\n")
    say("\n".join(f"{kind}: {reading[kind]}" for kind in KINDS) + f"\nwrote {out}")


def _apart(seen: PoolEvidence) -> PoolEvidence:
    """Without agreement: damaged copies of one reply agree because they were made so."""
    nothing = np.zeros(len(seen.sound))
    return replace(seen, values={**seen.values, **dict.fromkeys(AGREEMENT, nothing)})


def _kind(source: str, seen: PoolEvidence) -> Kind:
    """A pool of programs may be damaged so that it looks like prose; it counts as what it was drawn as."""
    if source.startswith("MBPP"):
        return "few programs" if source.endswith("few") else "programs"
    return "texts" if "programs" in seen.kind or source.endswith(DAMAGED_NAME) else seen.kind


def _problems(data: Path, seed: int, say: Callable[[str], None]) -> dict[str, list[Judged]]:
    """What is learned from, by source; nothing in it touches an evaluation task or HumanEval."""
    evaluated = index_evaluation(TASKS, data, say)
    sources = {name: comparisons_without_overlap(read(source, data), evaluated) for name, source in SOURCES.items()}
    say(f"read {sum(map(len, sources.values()))} comparisons of {len(sources)} sources; running the programs of MBPP")
    folder = data / "train" if (data / "train").is_dir() else data
    pools = pools_without_overlap(read_pools(folder, seed=seed), evaluated)
    say(f"labelled {sum(len(pool.texts) for pool in pools)} programs of {len(pools)} problems")
    chosen = [pools[i] for i in np.random.default_rng(seed).permutation(len(pools))[:PROGRAMS]]
    found = {
        "MBPP": draw(chosen, seed=seed, times=1),
        "MBPP, few": draw(chosen, seed=seed + 1, times=2, sizes=(2, 4)),
    }
    for name, comparisons in sources.items():
        every = group(comparisons)
        shuffled = [every[i] for i in np.random.default_rng(seed).permutation(len(every))]
        if SOURCES[name].free and (some := _damaged(shuffled, name != REFUSED, random.Random(f"{seed} {name}"))):
            found[name + DAMAGED_NAME] = some
        found[name] = _some(shuffled, SOURCES[name].right)
        # What a refusal is worth shows where one of two replies is one, which is rare.
        if name == REFUSED:
            found[f"{name}, refusals"] = _some([one for one in shuffled if _differ(one)], SOURCES[name].right)
    return {name: some for name, some in found.items() if some}


def _some(judged: Sequence[Judged], right: bool) -> list[Judged]:
    """The first problems, CANDIDATES in all, each with OF_A_PROMPT at most."""
    taken: list[Judged] = []
    count = 0
    for one in judged:
        texts = one.problem.texts[:OF_A_PROMPT]
        pairs = one.pairs[(one.pairs < len(texts)).all(1)]
        if not len(pairs):
            continue
        problem = Problem(prompt=one.problem.prompt, candidates=list(texts))
        better = np.isin(np.arange(len(texts)), pairs[:, 0])
        taken.append(right_ones(problem, better) if right else Judged(problem=problem, pairs=pairs))
        count += len(texts)
        if count >= CANDIDATES:
            break
    return taken


def _differ(one: Judged) -> bool:
    better, worse = (is_refusal(one.problem.texts[i]) for i in one.pairs[0])
    return better != worse


def _damaged(judged: Sequence[Judged], refused: bool, rng: random.Random) -> list[Judged]:
    """Replies of people or models, each with the same reply damaged in every way: the undamaged one is right."""
    found = []
    some = [one for one in judged if len(_better(one)) < 1_000 and len(one.problem.prompt) < 1_000]
    for one, other in zip(some[:DAMAGED], some[DAMAGED : 2 * DAMAGED], strict=False):
        reply = _better(one)
        texts = [reply, *damages(reply, _better(other), rng, refused=refused)]
        rng.shuffle(texts)
        problem = Problem(prompt=one.problem.prompt, candidates=texts)
        found.append(right_ones(problem, np.array([text == reply for text in texts])))
    return found


def _better(one: Judged) -> str:
    return one.problem.texts[int(one.pairs[0][0])].strip()


class _Line(msgspec.Struct):
    """What was seen in a problem, on disk."""

    values: dict[str, list[float]]
    unfinished: list[float]
    sound: list[bool]
    kind: Kind
    truncated: int


def _read(
    judge: PoolJudge,
    judged: Sequence[Judged],
    parts: frozenset[Part] | None,
    out: Path,
    name: str,
    say: Callable[[str], None],
) -> list[PoolEvidence]:
    """What the judge sees in the problems of a source; kept line by line, and read again from there."""
    path = out / "evidence" / f"{name}.jsonl"
    path.parent.mkdir(exist_ok=True)
    found = list(_kept(path, say))
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in found))
    while len(found) < len(judged):
        some = [one.problem for one in judged[len(found) : len(found) + BATCH]]
        fresh = [
            _Line(
                values={name: values.tolist() for name, values in seen.values.items()},
                unfinished=seen.unfinished.tolist(),
                sound=seen.sound.tolist(),
                kind=seen.kind,
                truncated=seen.truncated,
            )
            for seen in judge.evidence(some, parts=parts)
        ]
        with path.open("ab") as file:
            file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in fresh))
        found += fresh
        say(f"{name}: {len(found)} of {len(judged)} problems")
    return [
        PoolEvidence(
            values={name: np.array(values) for name, values in line.values.items()},
            unfinished=np.array(line.unfinished),
            sound=np.array(line.sound),
            kind=line.kind,
            truncated=line.truncated,
        )
        for line in found
    ]


def _kept(path: Path, say: Callable[[str], None]) -> Iterator[_Line]:
    """The lines that are there and whole, up to one that was broken off or damaged."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            found: _Line = json_file.decoded(line, f"{path}:{number}", _Line, remedy="read again from here on")
        except json_file.BadFile as error:
            say(str(error))
            return
        columns: list[Sequence[object]] = [*found.values.values(), found.unfinished, found.sound]
        if found.values.keys() != EVIDENCE.keys() or len({len(column) for column in columns}) != 1:
            say(f"{path}:{number}: not what is seen in a problem; read again from here on")
            return
        yield found


def _say_table(kind: str, table: dict[str, dict[str, Interval]], say: Callable[[str], None]) -> None:
    for source, rows in table.items():
        for row, (mean, low, high) in rows.items():
            say(f"{kind:<13} {source:<28} {row:<20} {100 * mean:5.1f} [{100 * low:5.1f}, {100 * high:5.1f}]")
