"""The timing of a judge on a few comparisons."""

from pathlib import Path

import numpy as np
from planning import idle

import flame_rank
from flame_rank import Problem
from flame_rank.plan.probe import probe


def test_a_probe_of_a_local_judge(folders: dict[str, Path]) -> None:
    sample = [(Problem(prompt="p", candidates=["a", "b", "c"]), np.arange(3))]
    timed = probe(flame_rank.load_judge(folders["qwen2"]), sample, by_token=True)
    assert timed.comparisons == 2 * 6 and timed.problem is None
    assert timed.seconds is not None and 0 < timed.seconds < timed.compiling
    t5 = idle(folders["t5"])
    probe(t5, sample, by_token=True)
    timed = probe(t5, sample, by_token=True)  # of shapes that are all known
    assert timed.comparisons == 2 * 6 and timed.seconds is not None and timed.seconds > 0 == timed.compiling
