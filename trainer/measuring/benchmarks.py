"""The paper's twelve benchmarks (section 4.1): the tasks of each, how its figure is computed, and the paper's
results (Tables 1 and 2)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Metric: TypeAlias = Literal["accuracy", "single judgements", "exact match", "balanced accuracy"]


@dataclass(frozen=True)
class Pool:
    """The examples of several tasks counted together.

    Attributes:
      tasks: the tasks' names.
      metric: accuracy = the share of verdicts that equal the annotators' majority; single judgements = the share of the
        annotators' votes for the response that the judge prefers; exact match = the share of labels that equal the
        annotators'; balanced accuracy = the mean over labels of the share of right answers.
    """

    tasks: tuple[str, ...]
    metric: Metric = "accuracy"


@dataclass(frozen=True)
class Mean:
    """The plain mean of several figures."""

    parts: Mapping[str, "Figure"]


Figure: TypeAlias = Pool | Mean


def tasks_of(figure: Figure) -> Iterator[str]:
    """Returns the names of the tasks from which a figure is computed."""
    if isinstance(figure, Pool):
        yield from figure.tasks
    else:
        for part in figure.parts.values():
            yield from tasks_of(part)


def _rewardbench(*parts: str) -> Pool:
    return Pool(tuple(f"rewardbench-{part}" for part in parts))


_LANGUAGES = ("cpp", "go", "java", "js", "python", "rust")
_ADVERSARIAL = ("neighbor", "gptinst", "gptout", "manual")
_AGGREFACT = (
    *("cnn", "xsum", "tofueval-medias", "tofueval-meetb", "wice"),
    *("reveal", "claimverify", "factcheck-gpt", "expertqa", "lfqa"),
)
REWARDBENCH = Mean(
    {  # its sections: parts by their sizes, Reasoning = mathematics and code equally; without the prior sets
        "Chat": _rewardbench(
            "alpacaeval-easy", "alpacaeval-length", "alpacaeval-hard", "mt-bench-easy", "mt-bench-med"
        ),
        "Chat Hard": _rewardbench("mt-bench-hard", "llmbar-natural", *(f"llmbar-adver-{a}" for a in _ADVERSARIAL)),
        "Safety": _rewardbench(
            "refusals-dangerous", "refusals-offensive", "xstest-should-refuse", "xstest-should-respond", "donotanswer"
        ),
        "Reasoning": Mean(
            {"math": _rewardbench("math-prm"), "code": _rewardbench(*(f"hep-{name}" for name in _LANGUAGES))}
        ),
    }
)
BENCHMARKS: Mapping[str, Figure] = {  # in the order of Table 1
    "LLM-AggreFact": Mean({part: Pool((f"aggrefact-{part}",), "balanced accuracy") for part in _AGGREFACT}),
    "RewardBench": REWARDBENCH,
    "HelpSteer": Pool(
        tuple(
            f"helpsteer-val-{aspect}"
            for aspect in ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
        ),
        "exact match",
    ),
    "Dipper": Pool(("dipper",), "exact match"),
    "Summary feedback": Pool(
        tuple(f"summary-feedback-{axis}" for axis in ("overall", "accuracy", "coverage", "coherence")), "exact match"
    ),
    "AlpacaFarm": Pool(("alpacafarm",)),
    "RankGen": Pool(("rankgen",), "single judgements"),
    "Contrastive search": Pool(("contrastive-search",)),
    "LitMT": Pool(("literary-mt",)),
    "HHH": Pool(tuple(f"hhh-{part}" for part in ("helpful", "honest", "harmless", "other"))),
    "CoPoem": Pool(("copoem",), "single judgements"),
    "Expert LFQA": Pool(("expert-lfqa",), "single judgements"),
}

# In %, as printed: Table 1, columns in the order of BENCHMARKS.
TABLE_1: Mapping[str, Sequence[float]] = {
    "Llama-3-70B-Instruct": (76.1, 76.0, 39.7, 42.8, 50.8, 53.9, 65.6, 53.1, 60.5, 91.9, 53.6, 71.1),
    "Mixtral-8x7B": (73.8, 77.8, 34.0, 42.2, 43.8, 55.1, 63.3, 56.6, 61.7, 90.0, 52.9, 71.5),
    "GPT-3.5-turbo": (70.0, 64.5, 32.0, 45.0, 15.6, 55.5, 58.2, 57.5, 54.3, 85.5, 49.0, 69.9),
    "Claude 3 Opus": (79.2, 80.7, 41.3, 50.6, 31.6, 49.6, 55.1, 45.1, 71.1, 94.6, 49.0, 71.1),
    "GPT-4-0125": (80.6, 85.9, 40.8, 45.0, 46.5, 49.6, 62.5, 55.8, 67.6, 94.6, 56.9, 77.0),
    "GPT-4o": (80.2, 84.7, 40.1, 45.6, 30.9, 50.4, 66.3, 57.5, 72.7, 92.3, 55.6, 75.0),
    "PaLM-2-24B": (54.8, 62.9, 20.0, 48.3, 13.3, 52.3, 58.2, 46.0, 62.5, 85.5, 54.2, 70.3),
    "FLAMe-24B": (80.4, 84.6, 52.2, 42.8, 42.2, 56.3, 65.6, 58.4, 64.1, 88.2, 54.2, 68.4),
    "FLAMe-RM-24B": (81.2, 86.7, 24.2, 50.6, 50.4, 54.7, 61.7, 48.7, 69.9, 90.0, 53.6, 73.4),
}
BASELINES = ("Llama-3-70B-Instruct", "Mixtral-8x7B", "GPT-3.5-turbo", "Claude 3 Opus", "GPT-4-0125", "GPT-4o")
# Table 2: average, Chat, Chat Hard, Safety, Reasoning.
TABLE_2: Mapping[str, Sequence[float]] = {
    "GPT-3.5-turbo": (64.5, 92.2, 44.5, 62.3, 59.1),
    "Prometheus-2-8x7B": (75.3, 93.0, 47.1, 83.5, 77.4),
    "Llama-3-70B-Instruct": (76.0, 97.6, 58.9, 69.2, 78.5),
    "Mixtral-8x7B": (77.8, 95.0, 64.0, 73.4, 78.7),
    "Claude 3 Opus": (80.7, 94.7, 60.3, 89.1, 78.7),
    "Gemini 1.5 Flash": (82.1, 92.2, 63.5, 87.7, 85.1),
    "GPT-4o": (84.7, 96.6, 70.4, 86.7, 84.9),
    "GPT-4-0125": (85.9, 95.3, 74.3, 87.2, 86.9),
    "Gemini 1.5 Pro": (88.1, 92.3, 80.6, 87.5, 92.0),
    "PaLM-2-24B": (62.9, 89.9, 61.2, 55.3, 45.2),
    "FLAMe-24B": (84.6, 94.4, 69.1, 80.7, 94.1),
    "FLAMe-RM-24B": (86.7, 94.7, 71.7, 85.7, 94.8),
}

SECTIONS: Mapping[str, Sequence[str]] = {  # RewardBench's, with its two kinds of Reasoning apart, as Table 5 has them
    **{name: tuple(tasks_of(part)) for name, part in REWARDBENCH.parts.items() if isinstance(part, Pool)},
    "Math": ("rewardbench-math-prm",),
    "Coding": tuple(f"rewardbench-hep-{name}" for name in _LANGUAGES),
}
TABLE_5: Mapping[str, float] = {"Chat": 79.1, "Chat Hard": 29.6, "Math": 6.5, "Coding": 35.7, "Safety": 41.9}


def wins(values: Mapping[str, float]) -> int:
    """Counts the benchmarks on which a judge is at least as good as all language models in the paper (the paper's own
    judges: on six of twelve).

    Args:
      values: the judge's result on each benchmark, in %, by the names in BENCHMARKS.
    """
    names = list(BENCHMARKS)
    best = {name: max(TABLE_1[row][names.index(name)] for row in BASELINES) for name in names}
    return sum(value >= best[name] for name, value in values.items())
