"""The pairwise-judge kernel: what a decoder predicts after texts that begin alike; each distinct piece is encoded once.

A path is a text in pieces of token ids: (instructions, prompt, A, B with the cue). Paths that begin with the same
pieces form a tree.

    level 0   instructions
    level 1   prompt 1            prompt 2      each against the instructions
    level 2   A   B   C           A   B         each against its (instructions, prompt)
    leaves    B C A C A B         B   A         each against all three before it; only log-odds come out

Keys and values lie in one array for each layer, the cache [2, C, K, H]. A node is a stretch of C: its whole prefix and
itself without a gap, so that all that precedes a row is one slice. Programs depend on (prefix bucket, own bucket, rows)
only; where a row's prefix lies, and how long it is, is data.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.sharding import Mesh

from flame_rank.model import buckets, memory, sharding
from flame_rank.model.choices import Attend
from flame_rank.model.decoder import Decoder
from flame_rank.model.programs import Cache, Programs
from flame_rank.model.separate import PairRows
from strategies.base import FloatArray

Ids: TypeAlias = tuple[int, ...]
Path: TypeAlias = Sequence[Ids]
Int32Array: TypeAlias = npt.NDArray[np.int32]


@dataclass(kw_only=True)
class Usage:
    """What a kernel has computed so far.

    Attributes:
      tokens: number of tokens encoded.
      padded: the same, padding included.
      shapes: (level, prefix bucket, own bucket, rows) of the batches; a program is compiled for each.
    """

    tokens: int
    padded: int
    shapes: set[tuple[str, int, int, int]]


_Prefixes: TypeAlias = tuple[tuple[Ids, ...], ...]


@dataclass(frozen=True, kw_only=True)
class _Node:
    """Where the keys and values of a prefix lie: `length` tokens of the cache from `start` on."""

    start: int
    length: int


@dataclass(frozen=True, kw_only=True)
class _Leaf:
    """The last piece of a path, and the tokens after it whose log-probabilities are wanted.

    Attributes:
      targets: C ids, each a candidate for the token after the last of `ids`; or, with `label`, one after each of
        `ids`.
      beside: for a comparison in the separate form the second response with all before it; `before` has the first.
      marks: the tokens of the marks with which the ids of such a comparison begin.
    """

    before: tuple[Ids, ...]
    ids: Ids
    targets: Ids
    label: bool = False
    beside: tuple[Ids, ...] = ()
    marks: tuple[int, int] = (0, 0)

    @property
    def prefixes(self) -> _Prefixes:
        """What has to be in the cache."""
        return (self.before, self.beside) if self.beside else (self.before,)


class Kernel:
    """Scores paths with a decoder.

    Attributes:
      parameters: how many numbers its weights have.
      capacity: tokens whose keys and values the cache holds.
    """

    def __init__(
        self,
        decoder: Decoder,
        *,
        mesh: Mesh,
        max_length: int = 2048,
        max_batch_tokens: int | None = None,
        how: Attend | None = None,
    ):
        """Args:
        decoder: its parameters lie on the mesh; their dtype is that of the computation.
        mesh: rows of a batch are split over its axis `data`, heads over `model`.
        max_length: tokens of a whole path.
        max_batch_tokens: tokens of a batch, padding included; None = by the rule of model/memory.py.
        how: which attention to compute with; None = row by row on one CPU, XLA's own elsewhere.
        """
        self.config, self.mesh, self.max_length = decoder.config, mesh, max_length
        self.vocab_size = decoder.config.vocab_size
        self._dtype = decoder.model.embed_tokens.weight[...].dtype
        self.dtype = self._dtype.name
        single_cpu = mesh.size == 1 and mesh.devices.flat[0].platform == "cpu"
        self.how: Attend = how or ("rows" if single_cpu else "xla")
        config, longest = self.config, buckets.length(max_length)
        scores = 0 if self.how == "rows" else 2 * config.num_attention_heads * longest
        each = memory.token_bytes(
            config.hidden_size, config.intermediate_size, itemsize=self._dtype.itemsize, scores=scores
        )
        self.max_batch_tokens = max_batch_tokens or memory.batch_tokens(each, mesh=mesh, longest=longest)
        cell = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * self._dtype.itemsize
        self._place, copies = sharding.cache(mesh, config.num_key_value_heads)
        self.capacity = memory.cache_tokens(cell, mesh=mesh, copies=copies, longest=longest)
        # Windows are read, and padding is written, beyond a node's end.
        self._slack = 2 * longest
        self._cache: Cache | None = None
        self._nodes: dict[tuple[Ids, ...], _Node] = {}
        self._used = 0
        self.usage = Usage(tokens=0, padded=0, shapes=set())

        self._programs = Programs(decoder, how=self.how, place=self._place)
        self.parameters = sum(leaf.size for leaf in jax.tree.leaves(self._programs.params))

    @property
    def programs(self) -> int:
        """Number of programs compiled so far."""
        return self._programs.count

    def log_probs(self, paths: Sequence[Path], targets: Sequence[int]) -> FloatArray:
        """How probable some tokens are after each path.

        Args:
          paths: R texts in one or more pieces; pieces that begin several paths are encoded once.
          targets: C ids.

        Returns:
          [R, C] float64, the log-probability of each target as the next token, in nats, under the whole vocabulary.

        Raises:
          ValueError: a path is longer than max_length, or has an empty piece.
        """
        leaves = [_Leaf(before=tuple(path[:-1]), ids=path[-1], targets=tuple(targets)) for path in paths]
        return np.array(self._run(leaves)).reshape(len(paths), len(targets))

    def pair_log_probs(
        self, pairs: Sequence[tuple[Path, Ids, Ids]], marks: tuple[Ids, Ids], cue: Ids, targets: Sequence[int]
    ) -> FloatArray:
        """How probable some tokens are after comparisons in the separate form (model/separate.py).

        Args:
          pairs: R comparisons: what stands before both responses in pieces, the first response and the second one. Each
            response is encoded once for all pairs.
          marks: of the first and of the second response.
          cue: what follows the marks.
          targets: C ids.

        Returns:
          [R, C] float64, as `log_probs`.

        Raises:
          ValueError: a comparison reaches beyond max_length, or has an empty piece.
        """
        ids, lengths = sum((*marks, cue), ()), (len(marks[0]), len(marks[1]))
        leaves = [
            _Leaf(before=(*before, a), beside=(*before, b), ids=ids, marks=lengths, targets=tuple(targets))
            for before, a, b in pairs
        ]
        return np.array(self._run(leaves)).reshape(len(pairs), len(targets))

    def rewards(self, paths: Sequence[Path]) -> FloatArray:
        """The rewards [R] float64 of R texts in pieces; for a decoder with a score head.

        Raises:
          ValueError: a path is longer than max_length, or has an empty piece.
        """
        leaves = [_Leaf(before=tuple(path[:-1]), ids=path[-1], targets=()) for path in paths]
        return np.array(self._run(leaves)).reshape(len(paths))

    def log_likelihoods(self, paths: Sequence[Path], labels: Sequence[Ids]) -> FloatArray:
        """The log-likelihood [R, C] float64, in nats, of each of C labels (in tokens) after each of R paths."""
        if all(len(label) == 1 for label in labels):
            return self.log_probs(paths, [label[0] for label in labels])
        of_tokens = self.token_log_probs([path for path in paths for _ in labels], [*labels] * len(paths))
        return np.array([row.sum() for row in of_tokens]).reshape(len(paths), len(labels))

    def token_log_probs(self, paths: Sequence[Path], labels: Sequence[Ids]) -> list[FloatArray]:
        """The log-probabilities [len(label)] float64, in nats, of the tokens of one label after each path, each under
        the whole vocabulary and given the tokens before it. Paths that are the same are encoded once.

        Raises:
          ValueError: a path with its label is longer than max_length, or one of them is empty.
        """
        leaves = []
        for path, label in zip(paths, labels, strict=True):
            # The last token of the path is read again with each label, whose first token follows it.
            before = (*path[:-1], path[-1][:-1]) if len(path[-1]) > 1 else tuple(path[:-1])
            leaves.append(_Leaf(before=before, ids=(path[-1][-1], *label[:-1]), targets=label, label=True))
        return self._run(leaves)

    def generate(self, paths: Sequence[Path], *, limit: int, eos: Iterable[int]) -> list[list[int]]:
        """Continues each path greedily: at most `limit` tokens, up to the first of `eos`."""
        whole = [tuple(token for piece in path for token in piece) for path in paths]
        self._check([_Leaf(before=(ids[:-1],), ids=ids[-1:], targets=()) for ids in whole])
        stops = np.array(sorted({*eos}) or [-1], np.int32)
        written: list[list[int]] = [[] for _ in paths]
        for taken, rows, _ in buckets.pack([len(ids) for ids in whole], self._most(), multiple=self._multiple):
            self.forget()
            nodes = [(whole[i][:-1],) for i in taken]
            self._grow(nodes)
            known = [self._nodes[node] for node in nodes]
            S = buckets.length(max(node.length for node in known))
            last = np.zeros(rows, np.int32)
            last[: len(taken)] = [whole[i][-1] for i in taken]
            self.usage.shapes.add(("generate", S, limit, rows))
            token, start, before = sharding.rows(self.mesh, last, *_places(known, rows))
            out = np.asarray(self._programs.generate(self._allocated(), token, start, before, stops, S=S, limit=limit))
            for i, row in zip(taken, out, strict=False):
                ends = np.flatnonzero(np.isin(row, stops))
                written[i] = [int(token) for token in row[: ends[0] if len(ends) else limit]]
        return written

    def _most(self) -> int:
        """How many tokens of whole texts fit into a batch and into the cache."""
        return min(self.max_batch_tokens, self.capacity)

    @property
    def _multiple(self) -> int:
        return sharding.data_parallel_size(self.mesh)

    def _check(self, leaves: Sequence[_Leaf]) -> None:
        for leaf in leaves:
            for before in leaf.prefixes:
                pieces = (*before, leaf.ids)
                if not all(pieces):
                    raise ValueError("a piece of a path has no token")
                if (length := sum(map(len, pieces))) > self.max_length:
                    raise ValueError(f"a path of {length} tokens, more than max_length {self.max_length}")

    def _run(self, leaves: Sequence[_Leaf]) -> list[FloatArray]:
        """Scores leaves in waves: a wave has as many as there is room for their prefixes in the cache."""
        self._check(leaves)
        scores: list[FloatArray] = [np.empty(0)] * len(leaves)
        groups: dict[_Prefixes, list[int]] = {}
        for i, leaf in enumerate(leaves):
            groups.setdefault(leaf.prefixes, []).append(i)
        wave: dict[_Prefixes, list[int]] = {}
        planned: dict[tuple[Ids, ...], int] = {}
        for prefixes, members in groups.items():
            if self._used + sum(planned.values()) + sum(self._missing(prefixes, planned).values()) > self.capacity:
                self._flush(wave, leaves, scores)
                wave, planned = {}, {}
                if self._used + sum(self._missing(prefixes, planned).values()) > self.capacity:
                    self.forget()
            planned |= self._missing(prefixes, planned)
            wave[prefixes] = members
        self._flush(wave, leaves, scores)
        return scores

    def _missing(self, prefixes: _Prefixes, planned: dict[tuple[Ids, ...], int]) -> dict[tuple[Ids, ...], int]:
        """The pieces of prefixes that are neither cached nor planned, with the tokens that each takes."""
        missing = {}
        for before in prefixes:
            length = 0
            for depth, piece in enumerate(before, 1):
                length += len(piece)
                if before[:depth] not in self._nodes and before[:depth] not in planned:
                    missing[before[:depth]] = length
        return missing

    def _flush(self, wave: dict[_Prefixes, list[int]], leaves: Sequence[_Leaf], scores: list[FloatArray]) -> None:
        self._grow(dict.fromkeys(before for prefixes in wave for before in prefixes))
        members = [i for group in wave.values() for i in group]
        for label in (False, True):
            self._score_leaves([i for i in members if leaves[i].label is label], leaves, scores, label=label)

    def forget(self) -> None:
        """Regards the cache as empty."""
        self._nodes, self._used = {}, 0

    def _grow(self, paths: Iterable[tuple[Ids, ...]]) -> None:
        """Encodes the prefixes that are not in the cache yet, level by level."""
        paths = list(paths)
        for depth in range(1, 1 + max(map(len, paths), default=0)):
            level = {path[:depth]: None for path in paths if len(path) >= depth and path[:depth] not in self._nodes}
            new = list(level)
            for taken, rows, T in buckets.pack(
                [len(path[-1]) for path in new], self.max_batch_tokens, multiple=self._multiple
            ):
                chosen = [new[i] for i in taken]
                parents = [self._nodes.get(path[:-1], _Node(start=0, length=0)) for path in chosen]
                S = buckets.length(max(node.length for node in parents))
                made, end = [], self._used
                for path, parent in zip(chosen, parents, strict=True):
                    made.append(_Node(start=end, length=parent.length + len(path[-1])))
                    end += made[-1].length
                target = np.full(rows, self.capacity, np.int32)  # of padding: into the slack
                target[: len(made)] = [node.start for node in made]
                tokens = self._tokens([path[-1] for path in chosen], rows, T)
                self._count("extend", S, T, rows, tokens=sum(len(path[-1]) for path in chosen))
                # The program takes the cache over: after an exception there is none, and nothing counts as cached.
                cache, self._cache = self._allocated(), None
                nodes, self._nodes = self._nodes, {}
                arrays = sharding.rows(self.mesh, tokens, *_places(parents, rows), target)
                cache = self._programs.extend(cache, *arrays, S=S)
                self._cache, self._nodes, self._used = cache, nodes | dict(zip(chosen, made, strict=True)), end

    def _score_leaves(
        self, members: list[int], leaves: Sequence[_Leaf], results: list[FloatArray], *, label: bool
    ) -> None:
        none = _Node(start=0, length=0)
        for taken, rows, T in buckets.pack(
            [len(leaves[i].ids) for i in members], self.max_batch_tokens, multiple=self._multiple
        ):
            chosen = [leaves[members[i]] for i in taken]
            parents = [self._nodes.get(leaf.before, none) for leaf in chosen]
            S = buckets.length(max(node.length for node in parents))
            lengths = np.array([len(leaf.ids) for leaf in chosen], np.int32)
            tokens = self._tokens([leaf.ids for leaf in chosen], rows, T)
            read, start, before = sharding.rows(self.mesh, tokens, *_places(parents, rows))
            self._count("label" if label else "score", S, T, rows, tokens=int(lengths.sum()))
            if label:
                places = np.concatenate([b * T + np.arange(length, dtype=np.int32) for b, length in enumerate(lengths)])
                targets = np.concatenate([np.array(leaf.targets, np.int32) for leaf in chosen])
                flat = self._programs.likelihood(self._allocated(), read, start, before, places, targets, S=S)
                scores = np.split(flat.astype(np.float64), np.cumsum(lengths)[:-1])
            else:
                last = np.zeros((rows, 1), np.int32)
                last[: len(chosen), 0] = lengths - 1
                targets = np.array(chosen[0].targets, np.int32)  # the same for all
                (at,) = sharding.rows(self.mesh, last)
                of_rows = (
                    self._score_pairs(chosen, parents, rows, read, at, targets=targets)
                    if chosen[0].beside  # then it is for all
                    else self._programs.score(self._allocated(), read, start, before, at, targets, S=S)
                )
                scores = list(np.asarray(of_rows, np.float64)[: len(chosen)])
            for i, row in zip(taken, scores, strict=True):
                results[members[i]] = row

    def _score_pairs(
        self, leaves: Sequence[_Leaf], parents: Sequence[_Node], rows: int, *arrays: jax.Array, targets: Int32Array
    ) -> jax.Array:
        """Log-probabilities [rows, C] of targets after comparisons in the separate form."""
        shared = [sum(map(len, leaf.before[:-1])) for leaf in leaves]
        seconds = [
            _Node(start=node.start + length, length=node.length - length)
            for node, length in zip((self._nodes[leaf.beside] for leaf in leaves), shared, strict=True)
        ]
        lengths = np.zeros(rows, np.int32)
        lengths[: len(leaves)] = shared
        places = PairRows(*sharding.rows(self.mesh, *_places(parents, rows), lengths, *_places(seconds, rows)))
        S, R = (buckets.length(max(node.length for node in nodes)) for nodes in (parents, seconds))
        read, at = arrays
        return self._programs.score_pairs(self._allocated(), read, places, at, targets, marks=leaves[0].marks, S=S, R=R)

    def _allocated(self) -> Cache:
        """The cache, made when it is first needed."""
        if self._cache is None:
            config = self.config
            shape = (2, self.capacity + self._slack, config.num_key_value_heads, config.head_dim)
            empty = jax.jit(lambda: jnp.zeros(shape, self._dtype), out_shardings=self._place)
            self._cache = [empty() for _ in config.windows]
            self.forget()
        return self._cache

    @staticmethod
    def _tokens(ids: Sequence[Ids], rows: int, length: int) -> Int32Array:
        tokens = np.zeros((rows, length), np.int32)
        for b, row in enumerate(ids):
            tokens[b, : len(row)] = row
        return tokens

    def _count(self, level: str, S: int, T: int, rows: int, *, tokens: int) -> None:
        self.usage.tokens += tokens
        self.usage.padded += rows * T
        self.usage.shapes.add((level, S, T, rows))


def _places(nodes: Sequence[_Node], rows: int) -> tuple[Int32Array, Int32Array]:
    """The start and the length of each row's prefix, [rows] int32 each."""
    start, length = np.zeros(rows, np.int32), np.zeros(rows, np.int32)
    start[: len(nodes)] = [node.start for node in nodes]
    length[: len(nodes)] = [node.length for node in nodes]
    return start, length
