"""Judges by how likely candidates are under a language model. Small models that cannot say which of two answers is
better still distinguish right from wrong answers by their likelihood (noisy channel: Min et al. 2022; mutual
information: Li et al. 2016)."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from flame_rank.candidates.code_views import is_continuation
from flame_rank.candidates.refusals import is_refusal
from flame_rank.judges.base import Notes, ProblemMemory
from flame_rank.messages import from_text
from flame_rank.model import forks
from flame_rank.prompts.conversation import CHARACTERS, encode, is_lone, joined, takes
from flame_rank.prompts.format import Format, Ids
from flame_rank.prompts.truncation import common_length, middle_cut
from flame_rank.records import Problem
from strategies.base import FloatArray, IntArray

if TYPE_CHECKING:  # it imports jax, which the judge without a model does without
    from flame_rank.model.scorer import Scorer

Part: TypeAlias = Literal["forward", "alone", "reverse", "refusal"]
PARTS: frozenset[Part] = frozenset(get_args(Part))

NOTHING = "Say something."  # the message after which a text is as likely as it is by itself
REFUSAL = "I'm sorry, but I can't help with that."
_DOCSTRING = re.compile(r"(\"\"\"|''')(.*?)\1", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Likelihoods:
    """The log-likelihoods of a problem's candidates by a model, in nats; a part that was not requested is 0.

    Attributes:
      forward: [n] mean log-probability of a candidate's tokens after the prompt, its end included; the end is left out
        if the candidate continues a program.
      gain: [n] `forward` minus the same value after the prompt `NOTHING`.
      tokens: [n] the number of tokens over which both are means; 1 if `forward` was not requested.
      ending: [n] log-probability that the candidate ends where it ends; 0 if it continues a program.
      reverse: [n] mean log-probability of the prompt (of its docstring, if the candidate continues a program) as the
        answer to the candidate.
      refusal: by how much `REFUSAL` is likelier after the prompt than after `NOTHING`, which shows whether the prompt
        asks for something that should be refused; 0 if no candidate declines.
      cut: [n] bool, whether the middle of the candidate or of its prompt was left out.
    """

    forward: FloatArray
    gain: FloatArray
    tokens: FloatArray
    ending: FloatArray
    reverse: FloatArray
    refusal: float
    cut: npt.NDArray[np.bool_]


class Reader:
    """A language model that reads candidates.

    A candidate follows its prompt as the assistant's turn follows the user's in the model's own chat template; without
    a template it follows the prompt and an empty line. A prompt of several messages is written turn by turn if the
    template takes these turns, and otherwise as one message, in the form of flame_rank.messages. The indented rest of a
    program follows its beginning directly, as text, up to its last character: there is no turn to end, and white space
    at its end has no meaning.
    """

    def __init__(self, kernel: "Scorer", form: Format, *, name: str):
        """Args:
        form: the tokenizer, and the chat template if there is one.
        name: the identity of the model, and of how much it reads.
        """
        self.kernel, self.name = kernel, name
        self._form = form
        self._nothing = form.message(form.values([NOTHING])[0])
        self._refusal = form.values([REFUSAL])[0]
        frame = len(form.message(())) + 1
        self.room = (kernel.max_length - frame) // 2  # tokens of a prompt, and of a candidate, that are read
        if self.room < len(self._refusal):
            raise ValueError(f"max_length {kernel.max_length} leaves no room to read candidates; raise it")

    def read(
        self, asked: Sequence[tuple[Problem, Sequence[int]]], parts: Collection[Part] = PARTS
    ) -> list[Likelihoods]:
        """Reads candidates of each problem, by index; a text that occurs twice is read once.

        Returns:
          For each problem the likelihoods of its candidates, in the order of the indices.
        """
        forks.compute_here()
        work = [_Work(self, problem, indices, parts) for problem, indices in asked]
        jobs = [job for reading in work for job in reading.jobs()]
        distinct = [job for job in dict.fromkeys(jobs) if job != _NO_JOB]
        scores = self.kernel.token_log_probs([(path,) for path, _ in distinct], [label for _, label in distinct])
        known = dict(zip(distinct, scores, strict=True))
        known[_NO_JOB] = np.zeros(1)
        return [reading.likelihoods([known[job] for job in reading.jobs()]) for reading in work]

    def ids(self, texts: Sequence[str]) -> list[tuple[Ids, bool]]:
        """Encodes texts, cuts them to the length that is read, and tells whether each was cut."""
        most = CHARACTERS * self.room
        short = [middle_cut(text, most) for text in texts]
        encoded = self._form.values(short)
        return [
            (middle_cut(ids, self.room), len(ids) > self.room or len(part) < len(text))
            for ids, part, text in zip(encoded, short, texts, strict=True)
        ]

    def message(self, ids: Ids) -> Ids:
        """Returns the path of a message, up to where its answer begins."""
        return self._form.message(ids)

    def prompt(self, text: str) -> tuple[Ids, bool]:
        """Returns the path that ends where the answer to a prompt is due, and whether anything was cut."""
        form, turns = self._form, from_text(text)
        if is_lone(turns):
            text = turns[0]["content"]
        elif form.template is not None and takes(form.tokenizer, form.template, turns, reply=True):
            [(around, contents, _, cut)] = encode(
                form.tokenizer, form.template, [turns], CHARACTERS * self.room, reply=True
            )
            frame = len(form.message(()))
            longest = common_length([len(ids) for ids in contents], frame + self.room - sum(map(len, around)))
            if longest > 0:
                kept = [middle_cut(ids, longest) for ids in contents]
                return joined(around, kept), cut or kept != contents
        [(ids, cut)] = self.ids([text])
        return form.message(ids), cut

    @property
    def nothing(self) -> Ids:
        return self._nothing

    @property
    def refusal(self) -> Ids:
        return self._refusal

    @property
    def end(self) -> Ids:
        """The ids that end an answer."""
        return self._form.end

    def text(self, ids: Ids) -> Ids:
        """Returns the path of plain text without a chat template."""
        return self._form.text_start + ids


Job: TypeAlias = tuple[Ids, Ids]  # a path and the label behind it
_NO_JOB: Job = ((), ())  # for what is not asked for


class _Work:
    """One problem while it is read: the requests to the kernel, and the likelihoods from its answers."""

    def __init__(self, reader: Reader, problem: Problem, indices: Sequence[int], parts: Collection[Part]):
        self.reader, self.parts = reader, parts
        texts = [problem.texts[i] for i in indices]
        self.code = [is_continuation(problem.prompt, text) for text in texts]
        read = [text.rstrip() if code else text for text, code in zip(texts, self.code, strict=True)]
        wanted = _DOCSTRING.search(problem.prompt)
        (self.prompt, prompt_cut), (self.asked, _), *candidates = reader.ids(
            [problem.prompt, wanted[2] if wanted else problem.prompt, *read]
        )
        self.message, message_cut = reader.prompt(problem.prompt)
        self.candidates = [ids for ids, _ in candidates]
        self.cut = np.array([prompt_cut or message_cut or was_cut for _, was_cut in candidates], bool)
        self.declines = any(is_refusal(text) for text in texts)

    def jobs(self) -> Iterator[Job]:
        reader = self.reader
        refusal = "refusal" in self.parts and self.declines
        yield (self.message, reader.refusal) if refusal else _NO_JOB
        yield (reader.nothing, reader.refusal) if refusal else _NO_JOB
        for ids, code in zip(self.candidates, self.code, strict=True):
            label = ids if code else ids + reader.end
            before = reader.text(self.prompt) if code and self.prompt else self.message
            yield (before, label) if "forward" in self.parts else _NO_JOB
            yield (reader.nothing, label) if "alone" in self.parts else _NO_JOB
            asked = (self.asked if code else self.prompt) + reader.end
            yield (reader.message(ids), asked) if "reverse" in self.parts else _NO_JOB

    def likelihoods(self, scores: Sequence[FloatArray]) -> Likelihoods:
        asked, nothing, *rest = scores
        forward, alone, reverse = rest[::3], rest[1::3], rest[2::3]
        gains = {"forward", "alone"} <= set(self.parts)
        difference = [f - a if gains else np.zeros(1) for f, a in zip(forward, alone, strict=True)]
        return Likelihoods(
            forward=np.array([row.mean() for row in forward]),
            gain=np.array([row.mean() for row in difference]),
            tokens=np.array([float(len(row)) for row in forward]),
            ending=np.array([0.0 if code else row[-1] for row, code in zip(forward, self.code, strict=True)]),
            reverse=np.array([row.mean() for row in reverse]),
            refusal=float(asked.sum() - nothing.sum()),
            cut=self.cut,
        )


class LikelihoodJudge:
    """Prefers the candidate that is likelier after the prompt and gains more from the prompt: the sum of both, in nats
    per token."""

    pool_aware = False
    pointwise = True
    one_by_one = False

    def __init__(self, reader: Reader):
        self._reader = reader
        self.name = f"likelihood:{reader.name}"
        self._seen: ProblemMemory[tuple[FloatArray, int]] = ProblemMemory()

    def judge(self, asked: Sequence[tuple[Problem, IntArray]]) -> list[FloatArray]:
        """Returns the log-odds [M] for each problem: differences of qualities."""
        fresh = list(dict.fromkeys(problem for problem, _ in asked if problem not in self._seen))
        read = self._reader.read([(problem, range(len(problem))) for problem in fresh], ("forward", "alone"))
        for problem, likelihoods in zip(fresh, read, strict=True):
            self._seen[problem] = likelihoods.forward + likelihoods.gain, int(likelihoods.cut.sum())
        return [self._seen[problem][0][pairs] @ np.array([1.0, -1.0]) for problem, pairs in asked]

    def notes(self, problem: Problem) -> Notes:
        """Returns how many candidates were cut."""
        return Notes(truncated=self._seen[problem][1] if problem in self._seen else 0)
