"""Makes a reward function for reinforcement learning from a judge, in the form that TRL's GRPOTrainer calls."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from flame_rank.judges.base import Judge
from flame_rank.judges.function import PairFunction
from flame_rank.messages import Messages
from flame_rank.ranking.reranker import Reranker
from flame_rank.ranking.tournament import ScheduleFunction
from flame_rank.records import Problem
from strategies.base import Strategy

RewardFunction: TypeAlias = Callable[..., list[float]]


def reward(
    judge: Judge | PairFunction | str | Path | None = None,
    strategy: str | Strategy | ScheduleFunction | None = None,
    **options: Any,
) -> RewardFunction:
    """Makes a reward function from a judge: the completions of one prompt are a group and are ranked against each
    other.

    Args:
      judge, strategy, options: as in `Reranker`.

    Returns:
      ``f(prompts, completions, **columns) -> rewards``. Prompts and completions are texts or chat messages, one prompt
      for each completion; other columns are ignored. A reward is the completion's score in its group, in nats: a
      difference is the log-odds of being the better one. A completion that lacks what is rated, such as a final
      answer, is below all others. NaN, which TRL counts as 0, the average, is the reward of a completion whose
      judgement failed, and of a group with too few valid judgements.
    """
    reranker = Reranker(judge, strategy, **options)

    def judged(prompts: Sequence[str | Messages], completions: Sequence[str | Messages], **columns: Any) -> list[float]:
        if len(prompts) != len(completions):
            raise ValueError(f"{len(prompts)} prompts for {len(completions)} completions; give one for each")
        groups: dict[str, list[int]] = {}
        for i, prompt in enumerate(prompts):
            groups.setdefault(json.dumps(prompt, sort_keys=True), []).append(i)
        problems = [
            Problem.of({"prompt": prompts[members[0]], "candidates": [completions[i] for i in members]})
            for members in groups.values()
        ]
        rewards = [float("nan")] * len(completions)
        places = {id(problem): members for problem, members in zip(problems, groups.values(), strict=True)}
        for ranking in reranker.rank_many(problems):
            if ranking.decided:
                rated = ranking.standing.rated
                for k, i in enumerate(places[id(ranking.problem)]):
                    if rated is None or rated[k]:
                        rewards[i] = float(ranking.scores[k])
        return rewards

    judged.__name__ = judged.__qualname__ = "flame_rank"  # what TRL's logs call it
    return judged
