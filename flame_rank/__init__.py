"""Picks the best of N candidates.

    best = flame_rank.rerank(prompt, samples).best

A name loads its module when it is first used: importing this package imports neither numpy nor jax.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import strategies

if TYPE_CHECKING:
    from flame_rank.errors import UserError as UserError
    from flame_rank.io.jsonl import read_problems as read_problems
    from flame_rank.judges import load as load_judge
    from flame_rank.judges.base import Judge as Judge
    from flame_rank.judges.base import Notes as Notes
    from flame_rank.judges.function import FunctionJudge as FunctionJudge
    from flame_rank.judges.function import from_probabilities as from_probabilities
    from flame_rank.prompts.instructions import Instructions as Instructions
    from flame_rank.ranking.reranker import Reranker as Reranker
    from flame_rank.ranking.reranker import rerank as rerank
    from flame_rank.ranking.reward import reward as reward
    from flame_rank.records import Candidate as Candidate
    from flame_rank.records import Problem as Problem
    from flame_rank.records import Ranking as Ranking
    from strategies import Knockout as Knockout
    from strategies import RoundRobin as RoundRobin
    from strategies import Standing as Standing

if getattr(strategies, "OWNER", None) != "flame_rank":
    raise ImportError(
        f"flame_rank needs its own package `strategies`, and {strategies.__file__} hides it: rename it, or start "
        "Python where it is not on the path"
    )

_MODULES = {  # name handed on -> where it lives, and what it is called there
    "Candidate": "flame_rank.records:Candidate",
    "FunctionJudge": "flame_rank.judges.function:FunctionJudge",
    "Instructions": "flame_rank.prompts.instructions:Instructions",
    "Judge": "flame_rank.judges.base:Judge",
    "Knockout": "strategies:Knockout",
    "Notes": "flame_rank.judges.base:Notes",
    "Problem": "flame_rank.records:Problem",
    "Ranking": "flame_rank.records:Ranking",
    "Reranker": "flame_rank.ranking.reranker:Reranker",
    "RoundRobin": "strategies:RoundRobin",
    "Standing": "strategies:Standing",
    "UserError": "flame_rank.errors:UserError",
    "from_probabilities": "flame_rank.judges.function:from_probabilities",
    "load_judge": "flame_rank.judges:load",
    "read_problems": "flame_rank.io.jsonl:read_problems",
    "rerank": "flame_rank.ranking.reranker:rerank",
    "reward": "flame_rank.ranking.reward:reward",
}

__all__ = [
    "Candidate",
    "FunctionJudge",
    "Instructions",
    "Judge",
    "Knockout",
    "Notes",
    "Problem",
    "Ranking",
    "Reranker",
    "RoundRobin",
    "Standing",
    "UserError",
    "from_probabilities",
    "load_judge",
    "read_problems",
    "rerank",
    "reward",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("flame-rank")
    if name not in _MODULES:
        raise AttributeError(f"module 'flame_rank' has no attribute {name!r}")
    module, _, attribute = _MODULES[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__
