"""Problems, judges and checkpoints for tests of plans."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from checkpoints import VARIANTS, write_checkpoint
from tokenizers_tiny import CHATML, write_byte_bpe, write_sentencepiece

import flame_rank
from flame_rank import Problem
from flame_rank.judges.language_model import LanguageModelJudge
from flame_rank.model.kernel import Kernel
from strategies.base import FloatArray, IntArray

T5 = {"model_type": "t5", "d_model": 32, "d_ff": 48, "d_kv": 8, "num_layers": 1, "num_heads": 2}


WORDS = ["the", "sum", "of", "two", "numbers", "is", "what", "we", "look", "for", "in", "every", "list"]


def problems(count: int, seed: int = 0, words: int = 40) -> list[Problem]:
    """Problems of 1 to 6 candidates, some of them equal."""
    rng = np.random.default_rng(seed)

    def text() -> str:
        return " ".join(rng.choice(WORDS, rng.integers(1, words)))

    made = []
    for k in range(count):
        texts = [text() for _ in range(rng.integers(1, 7))]
        made.append(Problem(prompt=f"{k} {text()}", candidates=[*texts, *texts[: rng.integers(0, 2)]]))
    return made


class Counting:
    """Counts comparisons, by problem, while a run goes on and forgets what a probe asked."""

    name, pool_aware = "counting", False

    def __init__(self, pointwise: bool = False):
        self.pointwise, self.asked = pointwise, 0

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        self.asked += sum(len(pairs) for _, pairs in asked)
        return [np.array([float(i - j) / 3 for i, j in pairs]) for _, pairs in asked]


def folder(path: Path, family: str) -> Path:
    path.mkdir()
    size = write_sentencepiece(path, "t5") if family == "t5" else write_byte_bpe(path, template=CHATML)
    config = T5 if family == "t5" else {**VARIANTS[family], "num_hidden_layers": 1}
    write_checkpoint(path, {**config, "vocab_size": size})
    return path


def idle(path: Path, **options: Any) -> LanguageModelJudge:
    """A judge that packs and counts and computes nothing: all are tied."""
    judge = flame_rank.load_judge(path, **options)
    assert isinstance(judge, LanguageModelJudge)
    kernel: Any = judge.kernel
    if isinstance(kernel, Kernel):
        programs: Any = kernel._programs
        programs.extend = lambda cache, *arrays, S: cache
        programs.score = lambda cache, tokens, *arrays, S: np.zeros((len(tokens), 2))
        programs.score_pairs = lambda cache, tokens, *arrays, marks, S, R: np.zeros((len(tokens), 2))
    else:
        kernel._next = lambda params, tokens, *arrays: np.zeros((len(tokens), 2))
    return judge
