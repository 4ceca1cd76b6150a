"""Counts what a kernel encodes for comparisons, and in which shapes, from lengths alone, without text. Must agree with
flame_rank/model/kernel.py and t5_kernel.py.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from flame_rank.judges.language_model import LanguageModelJudge
from flame_rank.judges.separate import SeparateJudge
from flame_rank.model import buckets, sharding
from flame_rank.model.t5_kernel import T5Kernel
from flame_rank.plan.lengths import Comparisons
from strategies.base import IntArray

Shape = tuple[str, int, int, int]


class Encoding:
    """Simulates a kernel on lengths.

    Attributes:
      tokens: number of tokens encoded so far.
      shapes: (level, prefix bucket, own bucket, rows) of a program -> number of its batches.
    """

    def __init__(self, judge: LanguageModelJudge):
        kernel: Any = judge.kernel
        self.tokens = 0
        self.shapes: Counter[Shape] = Counter()
        self._most, self._multiple = kernel.max_batch_tokens, sharding.data_parallel_size(kernel.mesh)
        self._instructions = len(judge.frame[0])
        self._separate = isinstance(judge, SeparateJudge)
        self._begun: int | None = None  # tokens that a T5's decoder, not its encoder, begins with
        if isinstance(kernel, T5Kernel):
            self._begun = len(kernel.parted(tuple(token for piece in judge.frame for token in piece))[1])
        else:
            self._capacity, self._used, self._has_instructions = kernel.capacity, 0, False

    def add(self, asked: Comparisons, calls: Sequence[Sequence[int]]) -> None:
        """Counts the encoding of comparisons; calls: the rounds in each call of the judge."""
        if self._separate:
            self._responses(asked, calls)
            return
        if self._begun is None:
            self._shared(asked, calls)
            return
        lengths = self._instructions + asked.prompt + asked.a + asked.b - self._begun
        start = np.searchsorted(asked.round, np.arange(asked.rounds + 1))
        for together in calls:
            some = lengths[_members(start, together)]
            self._batch("next", some, np.zeros_like(some))

    def _responses(self, asked: Comparisons, calls: Sequence[Sequence[int]]) -> None:
        """Reads the prompts and the responses of comparisons in the separate form once, as if the cache were large
        enough."""
        start = np.searchsorted(asked.round, np.arange(asked.rounds + 1))
        to_prompt = self._instructions + asked.prompt
        has_prompt = np.zeros(1 + asked.problem.max(initial=0), bool)
        has_response = np.zeros(1 + max(asked.first.max(initial=0), asked.second.max(initial=0)), bool)
        for together in calls:
            some = _members(start, together)
            if not self._has_instructions:
                self._batch("extend", np.array([self._instructions]), np.zeros(1, np.int64))
                self._has_instructions = True
            prompts, at = np.unique(asked.problem[some], return_index=True)
            roots = some[at[~has_prompt[prompts]]]
            self._batch("extend", asked.prompt[roots], np.full(len(roots), self._instructions))
            lengths = np.concatenate([asked.a[some], asked.b[some]])
            responses, at = np.unique(np.concatenate([asked.first[some], asked.second[some]]), return_index=True)
            read = at[~has_response[responses]]
            self._batch("score", lengths[read], to_prompt[np.concatenate([some, some])[read]])
            has_prompt[prompts] = has_response[responses] = True

    def _shared(self, asked: Comparisons, calls: Sequence[Sequence[int]]) -> None:
        """Encodes once what comparisons share, as long as the cache has room for it.

        A node is a prefix (instructions, prompt, A) that a round needs; the comparisons that share it are its leaves.
        All comparisons share the instructions.
        """
        # truncation depends on the pair, so a prompt may have several lengths
        prompt_id = _ids(asked.problem, asked.prompt)
        prefix_id = _ids(asked.first, asked.prompt, asked.a)
        _, at, node = np.unique(_code(asked.round, prefix_id), return_index=True, return_inverse=True)
        leaves_of = np.bincount(node, minlength=len(at))[np.argsort(at)]
        order = np.argsort(
            at[node], kind="stable"
        )  # [M] comparisons, node by node in the order in which they are asked
        behind, b = (self._instructions + asked.prompt + asked.a)[order], asked.b[order]
        at.sort()
        round, prompt_id, prefix_id = asked.round[at], prompt_id[at], prefix_id[at]  # [nodes], as all that follow
        prompt, a = asked.prompt[at], asked.a[at]
        to_prompt = self._instructions + prompt
        node_start = np.searchsorted(round, np.arange(asked.rounds + 1))
        leaf_start = np.searchsorted(asked.round, np.arange(asked.rounds + 1))
        has_prompt, has_prefix = (np.zeros(1 + ids.max(initial=0), bool) for ids in (prompt_id, prefix_id))  # cached
        for together in calls:
            nodes, leaves = _members(node_start, together), _members(leaf_start, together)
            while len(nodes):
                new = ~has_prefix[prefix_id[nodes]]
                prompts, first = np.unique(prompt_id[nodes], return_index=True)
                opens = np.zeros(len(nodes), bool)  # the node is the first with a new prompt
                opens[first] = ~has_prompt[prompts]
                cells = np.cumsum(opens * to_prompt[nodes] + new * (to_prompt + a)[nodes])
                cells += 0 if self._has_instructions else self._instructions
                fits = int(np.searchsorted(cells, self._capacity - self._used, side="right"))
                now, roots, grown = nodes[:fits], nodes[:fits][opens[:fits]], nodes[:fits][new[:fits]]
                read = leaves[: leaves_of[now].sum()]
                if fits and not self._has_instructions:
                    self._batch("extend", np.array([self._instructions]), np.zeros(1, np.int64))
                    self._has_instructions = True
                self._batch("extend", prompt[roots], np.full(len(roots), self._instructions))
                self._batch("extend", a[grown], to_prompt[grown])
                self._batch("score", b[read], behind[read])
                has_prompt[prompt_id[roots]] = has_prefix[prefix_id[grown]] = True
                self._used += int(cells[fits - 1]) if fits else 0
                nodes, leaves = nodes[fits:], leaves[len(read) :]
                if len(nodes):  # a full cache is emptied, and what is needed is encoded again
                    self._used, self._has_instructions, has_prompt[:], has_prefix[:] = 0, False, False, False

    def _batch(self, level: str, lengths: IntArray, prefixes: IntArray) -> None:
        """Packs the pieces of a level: the tokens [M] of each piece, and of its prefix."""
        self.tokens += int(lengths.sum())
        for taken, rows, T in buckets.pack(lengths.tolist(), self._most, multiple=self._multiple):
            self.shapes[level, buckets.window(int(prefixes[taken].max())), T, rows] += 1


def _members(start: IntArray, groups: Sequence[int]) -> IntArray:
    """Returns the members of groups; a group has the members from its start to the start of the next group."""
    return np.concatenate([np.arange(start[g], start[g + 1]) for g in groups])


def _code(*columns: IntArray) -> IntArray:
    """Computes a number for each row, equal for equal rows."""
    code = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        code = code * (1 + column.max(initial=0)) + column
    return code


def _ids(*columns: IntArray) -> IntArray:
    """Numbers the distinct rows from 0; equal rows get equal numbers."""
    return np.asarray(np.unique(_code(*columns), return_inverse=True)[1])
