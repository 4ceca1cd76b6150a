"""A reward model as a judge: a decoder with a score head (`*ForSequenceClassification` with one label) reads the prompt
with each candidate, and the score at the last token is the candidate's quality. The cost is linear in the number of
candidates.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flame_rank.errors import UserError
from flame_rank.judges.base import Notes, ProblemMemory
from flame_rank.model import forks
from flame_rank.model.checkpoint_files import identity
from flame_rank.model.choices import Template
from flame_rank.model.families import read_architecture
from flame_rank.model.kernel import Kernel
from flame_rank.model.scorer import ComputeOptions, load_scorer
from flame_rank.prompts.conversation import FORM, Conversation, load_conversation
from flame_rank.prompts.format import Ids
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray


class _Record:
    """What is known about a problem."""

    def __init__(self) -> None:
        self.rewards: dict[int, float] = {}  # by candidate
        self.cut: set[int] = set()
        self.failures: dict[str, None] = {}


class RewardModelJudge:
    """Prefers the candidate with the higher reward."""

    pool_aware = False
    pointwise = True
    one_by_one = False

    def __init__(self, kernel: Kernel, conversation: Conversation, *, name: str, temperature: float = 1.0):
        """Args:
        name: the judge's identity: all that its answers depend on.
        temperature: the number by which rewards are divided to become log-odds in nats.
        """
        self._kernel, self._conversation = kernel, conversation
        self.name, self.temperature = name, temperature
        self._records: ProblemMemory[_Record] = ProblemMemory()

    @property
    def tokens_encoded(self) -> int:
        """The number of tokens that the model has encoded so far."""
        return self._kernel.usage.tokens

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Returns the log-odds [M] for each problem: differences of rewards; NaN if a candidate cannot be read."""
        rewards = self.rewards([(problem, np.unique(pairs).tolist()) for problem, pairs in asked])
        answers = []
        for (_, pairs), values in zip(asked, rewards, strict=True):
            places, inverse = np.unique(pairs, return_inverse=True)
            quality = values[: len(places)][inverse.reshape(-1, 2)]  # [M, 2]
            answers.append((quality[:, 0] - quality[:, 1]) / self.temperature)
        return answers

    def rewards(self, asked: Sequence[tuple[Problem, Sequence[int]]]) -> list[FloatArray]:
        """Returns the model's rewards for candidates of each problem, by index; NaN for those that cannot be read.

        A candidate is read once: later calls take its reward from memory.
        """
        forks.compute_here()
        paths: list[tuple[Ids, Ids]] = []
        places: list[tuple[Problem, int]] = []
        for problem, indices in asked:
            record = self._records.setdefault(problem, _Record())
            fresh = [i for i in dict.fromkeys(indices) if i not in record.rewards]
            paths += self._paths(problem, fresh, record)
            places += [(problem, i) for i in fresh if i not in record.rewards]
        for (problem, i), reward in zip(
            places, self._kernel.rewards([[*filter(None, path)] for path in paths]), strict=True
        ):
            self._records[problem].rewards[i] = float(reward)
        return [np.array([self._records[p].rewards[i] for i in indices], np.float64) for p, indices in asked]

    def tokens(self, problem: Problem, candidate: int) -> list[int]:
        """Returns the exact token ids that the model reads for a candidate; the reward is read at the last one."""
        ((head, rest),), _ = self._conversation.paths(
            problem.prompt, [problem.candidates[candidate]], self._kernel.max_length
        )
        return [*head, *rest]

    def notes(self, problem: Problem) -> Notes:
        """Returns how many candidates were cut, and why some could not be read."""
        record = self._records.get(problem, _Record())
        return Notes(truncated=len(record.cut), failures=tuple(record.failures))

    def _paths(self, problem: Problem, indices: list[int], record: _Record) -> list[tuple[Ids, Ids]]:
        """Returns the pieces of candidates; notes what was cut, and NaN for those that the template or tokenizer
        refuses."""
        answers = [problem.candidates[i] for i in indices]
        try:
            paths, cut = self._conversation.paths(problem.prompt, answers, self._kernel.max_length)
        except ValueError as error:
            if len(indices) > 1:  # one text must not cost the others their rewards
                return [path for i in indices for path in self._paths(problem, [i], record)]
            record.failures[str(error)] = None
            record.rewards |= dict.fromkeys(indices, np.nan)
            return []
        record.cut |= {i for i, was_cut in zip(indices, cut, strict=True) if was_cut}
        return paths


def load(
    checkpoint: Path, *, template: Template | None = None, reward_temperature: float = 1.0, **options: Any
) -> RewardModelJudge:
    """Reads a reward model from a Hugging Face directory.

    Args:
      template, reward_temperature: as in `flame_rank.load_judge`.
      options: those of `ComputeOptions`.

    Raises:
      UserError: a file is missing, incomplete or does not fit the others, or needs a computation that is not supported.
    """
    forks.compute_here()
    try:
        architecture = read_architecture(checkpoint, reward=True)
        conversation = load_conversation(checkpoint, architecture, template=template)
        kernel = load_scorer(checkpoint, ComputeOptions(**options), architecture)
        assert isinstance(kernel, Kernel), "only decoders have a score head"
        stated = [FORM, conversation.pieces, kernel.max_length, kernel.dtype, reward_temperature]
        name = f"reward:{architecture.family}:{identity(checkpoint, stated)}"
        conversation.paths("", [""], kernel.max_length)  # refuses a length without room for texts
    except (OSError, ValueError) as error:
        raise UserError(f"the reward model in {checkpoint} cannot be read: {error}") from error
    return RewardModelJudge(kernel, conversation, name=name, temperature=reward_temperature)
