"""Learns, for a language model, how much each kind of evidence counts in the default judge: `flame-train default`."""

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np

from flame_rank.candidates import answers
from flame_rank.candidates.refusals import is_refusal
from flame_rank.errors import UserError
from flame_rank.io import json_file
from flame_rank.io.run_settings import check_settings
from flame_rank.io.writing import write_whole
from flame_rank.judges import checkpoint
from flame_rank.judges.default.pool import (
    AGREEMENT,
    EVIDENCE,
    RULES,
    SETTINGS,
    JudgeSettings,
    Kind,
    ModelFile,
    PoolEvidence,
    PoolJudge,
    parts_to_read,
    rules_digest,
)
from flame_rank.judges.likelihood import Part, Reader
from flame_rank.model.choices import Dtype
from flame_rank.records import Problem
from trainer.collection.decontamination import NgramIndex, index_evaluation
from trainer.collection.tasks import TASKS
from trainer.collection.training_data import FILE, TrainingData
from trainer.default_judge import ablation
from trainer.default_judge.ablation import OUTSIDE
from trainer.default_judge.combine import (
    LabelledProblem,
    calibration_factor,
    draw,
    group_by_prompt,
    label_right,
    learn,
    scale,
)
from trainer.default_judge.corruptions import corrupt
from trainer.default_judge.pools import pools_without_overlap, read_pools
from trainer.default_judge.sources import SOURCES, VOTING, comparisons_without_overlap, read_comparisons
from trainer.measuring.human_pairs import BENCHMARKS, available_benchmarks, read_pairs
from trainer.measuring.intervals import Interval

MAX_LENGTH = 1024  # tokens of prompt and candidate that the model reads
FIGURES = "figures.json"
RECIPE = "recipe.json"  # what a run was begun with
CANDIDATES = 60  # read of a source: no source may take an hour
VOTES_SUFFIX = ", votes"
VOTES = 480  # candidates of pools that vote
CANDIDATES_EACH = 6  # read of a prompt
CORRUPTED_SUFFIX = ", damaged"
CORRUPTED = 8  # prompts of each source of whole replies whose replies are corrupted
PROGRAMS = 270  # MBPP problems
REFUSED = "hh-harmless"  # the source whose prompts ask for something harmful
BATCH = 16  # problems that are read together and then written

WORTH = 0.005  # the share of right picks that "reverse" has to add: it takes as long as all other reading
MEASURED = ("HHH", "Expert LFQA", "LLMBar Natural", "LLMBar Adversarial")
KINDS: tuple[Kind, ...] = get_args(Kind)


def build(
    data: Path,
    model: ModelFile,
    path: Path,
    out: Path,
    *,
    seed: int = 0,
    without: Sequence[str] = (),
    dtype: Dtype | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Reads the problems with a model, learns the weights and writes the judge to `out`. An interrupted run is
    continued if it is started again with the same arguments.

    Args:
      data: the folder of data sets, or the folder that contains it as `train`.
      model: the entry of judge.json that names the model.
      path: where the model is.
      out: the folder for the judge, its figures and the evidence that the model has read.
      seed: seed of the choice of problems.
      without: the kinds of evidence that are not computed.
      dtype: the model's number format, as in `flame_rank.load_judge`.
      say: receives lines of progress and results.

    Raises:
      UserError: a data set is missing from `data`, the model cannot be read, or `out` was begun with other arguments.
    """
    reader = checkpoint.load_reader(path, max_length=MAX_LENGTH, dtype=dtype)
    out.mkdir(parents=True, exist_ok=True)
    rules = rules_digest(RULES).hex()[:12]  # evidence that other rules found is not taken up
    settings = {"model": reader.name, "seed": seed, "without": sorted(without), "rule set": rules}
    check_settings(out / RECIPE, settings)
    write_whole(out / RECIPE, json.dumps(settings) + "\n")
    held_out = index_evaluation(TASKS, data, say)
    problems = read_problems(data, seed, held_out, say)
    training_data(problems, held_out).write(out / FILE)
    learn_judge(problems, data, model, reader, out, say, without)


def training_data(problems: Mapping[str, Sequence[LabelledProblem]], held_out: NgramIndex) -> TrainingData:
    """States what the judge is learned from: the number of problems of each source."""
    return TrainingData(tasks={name: len(members) for name, members in problems.items()}, checked=held_out.checked)


def learn_judge(
    problems: dict[str, list[LabelledProblem]],
    data: Path,
    model: ModelFile,
    reader: Reader,
    out: Path,
    say: Callable[[str], None],
    without: Sequence[str] = (),
) -> None:
    """Reads problems by source, learns the weights, writes judge.json, and measures the judge on people's pairs."""
    everything = parts_to_read({name: 1.0 for name in EVIDENCE if name not in without})
    nothing: dict[Kind, dict[str, float]] = {kind: {} for kind in KINDS}
    judge = PoolJudge(JudgeSettings(model=None, max_length=MAX_LENGTH, reading=nothing, alone=nothing), reader)
    labelled: list[LabelledProblem] = []
    seen: list[PoolEvidence] = []
    sources: list[str] = []
    for name, members in problems.items():
        parts = parts_to_read({"forward": 1.0}) if name.startswith("MBPP") else everything
        labelled += members
        sources += [name.removesuffix(VOTES_SUFFIX)] * len(members)
        evidence = _read_evidence(judge, members, parts, out, name, say)
        seen += map(_without_agreement, evidence) if name.endswith(CORRUPTED_SUFFIX) else evidence
    figures: dict[str, object] = {}
    reading: dict[Kind, dict[str, float]] = {}
    alone: dict[Kind, dict[str, float]] = {}
    for kind in KINDS:
        indices = [i for i in range(len(seen)) if _kind(sources[i], seen[i]) == kind]
        known = [labelled[i] for i in indices], [seen[i] for i in indices], [sources[i] for i in indices]
        if len({item.problem.prompt for item in known[0]}) < ablation.FOLDS:
            raise UserError(
                f"{kind}: {len(indices)} problems, but {ablation.FOLDS} are needed; --data has too few data sets"
            )
        figures[kind] = rows = ablation.ablation_table(*known, kind)
        _say_table(kind, rows, say)
        useful = [name for name in EVIDENCE if name != "reverse" or ablation.gain_of_kind("reverse", rows) >= WORTH]
        # In pools of programs agreement says most and costs nothing: the model reads them only if that adds something.
        if kind == "programs" and ablation.gain_of_reading(*known) <= 0:
            useful = list(OUTSIDE)
        for weights, using in ((reading, useful), (alone, list(OUTSIDE))):
            factor = calibration_factor(known[0], ablation.held_out_qualities(*known, using), known[2])
            weights[kind] = scale(learn(*known, using=using), factor)
    settings = JudgeSettings(model=model, max_length=MAX_LENGTH, reading=reading, alone=alone)
    (out / SETTINGS).write_bytes(msgspec.json.format(msgspec.json.encode(settings)) + b"\n")
    (out / FIGURES).write_text(json.dumps(figures, indent=1) + "\n")
    final = PoolJudge(settings, reader)
    for name in available_benchmarks(data):
        if name in MEASURED:
            better = np.array([[0, 1]], np.int64)
            compared = [
                LabelledProblem(problem=problem, pairs=better) for problem in read_pairs(BENCHMARKS[name], data)
            ]
            people = ablation.measure_weights(
                compared, _read_evidence(final, compared, None, out, name, say), final.weights
            )
            figures[name] = people
            _say_table("people", {name: people}, say)
    (out / FIGURES).write_text(json.dumps(figures, indent=1) + "\n")
    say("\n".join(f"{kind}: {reading[kind]}" for kind in KINDS) + f"\nwrote {out}")


def _without_agreement(seen: PoolEvidence) -> PoolEvidence:
    """Removes agreement, because corrupted copies of one reply agree only since they were made from it."""
    nothing = np.zeros(len(seen.sound))
    return replace(seen, values={**seen.values, **dict.fromkeys(AGREEMENT, nothing)})


def _kind(source: str, seen: PoolEvidence) -> Kind:
    """Tells which weights a problem counts for. A pool of mutants may look like prose; it counts as programs."""
    if source.startswith("MBPP"):
        return "few programs" if source.endswith("few") else "programs"
    return "texts" if "programs" in seen.kind or source.endswith(CORRUPTED_SUFFIX) else seen.kind


def read_problems(
    data: Path, seed: int, held_out: NgramIndex, say: Callable[[str], None]
) -> dict[str, list[LabelledProblem]]:
    """Reads the problems to learn from, by source, without overlap with the held-out texts."""
    sources = {
        name: comparisons_without_overlap(read_comparisons(source, data), held_out) for name, source in SOURCES.items()
    }
    say(f"read {sum(map(len, sources.values()))} comparisons of {len(sources)} sources; running the programs of MBPP")
    folder = data / "train" if (data / "train").is_dir() else data
    pools = pools_without_overlap(read_pools(folder, seed=seed), held_out)
    say(f"labelled {sum(len(pool.texts) for pool in pools)} programs of {len(pools)} problems")
    chosen = [pools[i] for i in np.random.default_rng(seed).permutation(len(pools))[:PROGRAMS]]
    problems = {
        "MBPP": draw(chosen, seed=seed, times=1),
        "MBPP, few": draw(chosen, seed=seed + 1, times=2, sizes=(2, 4)),
    }
    for name, comparisons in sources.items():
        every = group_by_prompt(comparisons)
        shuffled = [every[i] for i in np.random.default_rng(seed).permutation(len(every))]
        if SOURCES[name].free:
            rng = random.Random(f"{seed} {name}")
            problems[name + CORRUPTED_SUFFIX] = _corrupted(shuffled, name != REFUSED, rng)
        problems[name] = _first(shuffled, SOURCES[name].right, CANDIDATES)
        # What a refusal is worth shows only if one of two replies is a refusal, which is rare.
        if name == REFUSED:
            problems[f"{name}, refusals"] = _first(filter(_has_one_refusal, shuffled), SOURCES[name].right, CANDIDATES)
    # What a vote is worth shows only in pools that vote, of which each source has few.
    voting = comparisons_without_overlap(read_comparisons(VOTING, data), held_out)
    every = [item for item in group_by_prompt(voting) if answers.shared(answers.problem_answers(item.problem))]
    shuffled = [every[i] for i in np.random.default_rng(seed).permutation(len(every))]
    problems["gsm8k" + VOTES_SUFFIX] = _first(shuffled, VOTING.right, VOTES)
    return {name: members for name, members in problems.items() if members}


def _first(labelled: Iterable[LabelledProblem], right: bool, candidates: int) -> list[LabelledProblem]:
    """Takes the first problems, up to a number of candidates in all and CANDIDATES_EACH of each problem."""
    taken: list[LabelledProblem] = []
    count = 0
    for item in labelled:
        texts = item.problem.texts[:CANDIDATES_EACH]
        pairs = item.pairs[(item.pairs < len(texts)).all(1)]
        if not len(pairs):
            continue
        problem = Problem(prompt=item.problem.prompt, candidates=list(texts))
        better = np.isin(np.arange(len(texts)), pairs[:, 0])
        taken.append(label_right(problem, better) if right else LabelledProblem(problem=problem, pairs=pairs))
        count += len(texts)
        if count >= candidates:
            break
    return taken


def _has_one_refusal(item: LabelledProblem) -> bool:
    better, worse = (is_refusal(item.problem.texts[i]) for i in item.pairs[0])
    return better != worse


def _corrupted(labelled: Sequence[LabelledProblem], refused: bool, rng: random.Random) -> list[LabelledProblem]:
    """Makes problems of a reply by a person or a model and all its corruptions; the reply itself is right."""
    problems = []
    short = [item for item in labelled if len(_better(item)) < 1_000 and len(item.problem.prompt) < 1_000]
    for item, other in zip(short[:CORRUPTED], short[CORRUPTED : 2 * CORRUPTED], strict=False):
        reply = _better(item)
        texts = [reply, *corrupt(reply, _better(other), rng, refused=refused)]
        rng.shuffle(texts)
        problem = Problem(prompt=item.problem.prompt, candidates=texts)
        problems.append(label_right(problem, np.array([text == reply for text in texts])))
    return problems


def _better(item: LabelledProblem) -> str:
    return item.problem.texts[int(item.pairs[0][0])].strip()


class _Line(msgspec.Struct):
    """The evidence of one problem, on disk; `problem` is a digest of its texts."""

    problem: str
    values: dict[str, list[float]]
    penalty: list[float]
    sound: list[bool]
    kind: Kind
    truncated: int

    def evidence(self) -> PoolEvidence:
        return PoolEvidence(
            values={name: np.array(values) for name, values in self.values.items()},
            penalty=np.array(self.penalty),
            sound=np.array(self.sound),
            kind=self.kind,
            truncated=self.truncated,
        )


def _read_evidence(
    judge: PoolJudge,
    labelled: Sequence[LabelledProblem],
    parts: frozenset[Part] | None,
    out: Path,
    name: str,
    say: Callable[[str], None],
) -> list[PoolEvidence]:
    """Collects the judge's evidence about the problems of a source; every batch is written to a file, from which an
    interrupted run continues."""
    path = out / "evidence" / f"{name}.jsonl"
    path.parent.mkdir(exist_ok=True)
    digests = [_digest(item.problem) for item in labelled]
    lines = list(_whole_lines(path, digests, say))
    write_whole(path, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    while len(lines) < len(labelled):
        batch = [item.problem for item in labelled[len(lines) : len(lines) + BATCH]]
        fresh = [
            _Line(
                problem=digest,
                values={name: values.tolist() for name, values in seen.values.items()},
                penalty=seen.penalty.tolist(),
                sound=seen.sound.tolist(),
                kind=seen.kind,
                truncated=seen.truncated,
            )
            for digest, seen in zip(digests[len(lines) :], judge.evidence(batch, parts=parts), strict=False)
        ]
        with path.open("ab") as file:
            file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in fresh))
        lines += fresh
        say(f"{name}: {len(lines)} of {len(labelled)} problems")
    return [line.evidence() for line in lines]


def _digest(problem: Problem) -> str:
    return hashlib.sha256("\0".join([problem.prompt, *problem.texts]).encode(errors="replace")).hexdigest()[:16]


def _whole_lines(path: Path, digests: Sequence[str], say: Callable[[str], None]) -> Iterator[_Line]:
    """Reads the lines of an earlier run about the problems with these digests, up to the first line that is incomplete,
    damaged or about another problem."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    for number, (line, digest) in enumerate(zip(lines, digests, strict=False), 1):
        try:
            content: _Line = json_file.decoded(
                line, f"{path}:{number}", _Line, remedy="problems are read again from this line on"
            )
        except json_file.BadFile as error:
            say(str(error))
            return
        columns: list[Sequence[object]] = [*content.values.values(), content.penalty, content.sound]
        if content.values.keys() != EVIDENCE.keys() or len({len(column) for column in columns}) != 1:
            say(f"{path}:{number}: not the evidence of a problem; problems are read again from this line on")
            return
        if content.problem != digest:
            say(f"{path}:{number}: about another problem; problems are read again from this line on")
            return
        yield content


def _say_table(kind: str, table: dict[str, dict[str, Interval]], say: Callable[[str], None]) -> None:
    for source, rows in table.items():
        for row, (mean, low, high) in rows.items():
            say(f"{kind:<13} {source:<28} {row:<20} {100 * mean:5.1f} [{100 * low:5.1f}, {100 * high:5.1f}]")
