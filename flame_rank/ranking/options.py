"""The options of a ranking: keywords of `flame_rank.Reranker` and options of the commands."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import strategies
from flame_rank.fields import described


@dataclass(frozen=True, kw_only=True)
class RankingOptions:
    """Which comparisons are asked, and how the judgements are kept and used."""

    strategy: str | Any = described(
        None,
        "Choose which pairs of candidates the judge is asked about.",
        automatic="active, or pointwise for a judge that gives each candidate a score of its own",
        choices=strategies.NAMES,
    )
    order: Literal["both", "random", "fixed"] | None = described(
        None,
        "Ask about a pair in both orders, in a random order, or in the fixed order of the input.",
        automatic="both",
    )
    budget: int | None = described(
        None,
        "Ask at most this many comparisons about one problem.",
        automatic="as many as the strategy takes",
        unit="COMPARISONS",
        least=1,
    )
    top: int | None = described(
        None,
        "Look for the best K candidates instead of the best one. The commands add them to the record as `top`; for "
        "flat input they write only these samples.",
        automatic="look for the best candidate only",
        unit="K",
        least=1,
    )
    confidence: float | None = described(
        None,
        "Stop asking about a problem once its P(best) reaches this probability (strategy active only).",
        automatic="ask as many comparisons as the budget allows",
        unit="P",
        above=0,
        below=1,
    )
    dedupe: Literal["exact", "ast"] = described(
        "exact",
        "Judge candidates with equal texts once (exact), or also programs that differ only in formatting (ast).",
    )
    ledger: str | Path | None = described(
        None,
        "Keep every judgement in this file, and reuse the judgements that are in it.",
        automatic="no ledger",
        unit="FILE",
    )
    retry_invalid: bool = described(
        False, "Ask again for judgements that failed in an earlier run and are in the ledger."
    )
    ordered: bool = described(
        True, "Yield rankings in the order of the input; if False, as soon as each problem is done."
    )
    seed: int = described(0, "Seed of the strategy's random choices.", least=0)
    batch: int = described(
        128,
        "Collect this many comparisons, from several problems, for one call of the judge. A function is called for "
        "each problem separately.",
        unit="COMPARISONS",
        least=1,
    )
    keep_judgements: bool = described(False, "Keep all that was asked and answered about a problem in its ranking.")
    explain: bool = described(
        False, "Add the judge's explanation of why the best candidate is better than the second (language models only)."
    )
    extract: str | Callable[[str], str | None] | None = described(
        None,
        "Find a candidate's final answer with this regular expression: its last match, or the first group of that "
        "match. Candidates with equal answers count as one option.",
        automatic="the usual marks, such as #### and \\boxed{}",
        unit="PATTERN",
        option="--answer",
    )
