"""The pairwise-judge kernel: computes what a decoder predicts after texts with common prefixes; each distinct piece is
encoded once.

A path is a text in pieces of token ids: (instructions, prompt, A, B with the cue). Paths that begin with the same
pieces form a tree.

    level 0   instructions
    level 1   prompt 1            prompt 2      each against the instructions
    level 2   A   B   C           A   B         each against its (instructions, prompt)
    leaves    B C A C A B         B   A         each against all three before it; only log-odds come out

Keys and values are in one array per layer, the cache [2, C, K, H]. A node is a slice of C with its whole prefix and its
own tokens, so that everything before a row is one slice. Programs depend on (prefix bucket, own bucket, rows) only; the
position and length of a row's prefix are data.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from flame_rank.model import buckets, memory, sharding
from flame_rank.model.cache import Cache
from flame_rank.model.choices import Attend
from flame_rank.model.decoder import Decoder
from flame_rank.model.generation import BegunTexts, Sampling, Written
from flame_rank.model.nodes import Ids, Int32Array, Leaf, Node, Path, Usage, behind_its_last, in_one_piece, places_of
from flame_rank.model.programs import Programs
from strategies.base import FloatArray

_ROWS = 256  # texts that are written at once: the logits of a step are rows x vocabulary


def _cells(leaf: Leaf) -> int:
    """Returns how many tokens the prefixes of a path take in the cache: each holds all that precedes it, too."""
    return sum(accumulate(map(len, leaf.before)))


class Kernel:
    """Scores paths with a decoder.

    Attributes:
      parameters: the number of its parameters.
      capacity: the number of tokens whose keys and values fit in the cache.
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
        decoder: the model; its parameters are on the mesh, and their dtype is that of the computation.
        mesh: rows of a batch are split over its axis `data`, heads over `model`.
        max_length: the most tokens of a whole path.
        max_batch_tokens: the most tokens of a batch, padding included; None uses the rule of model/memory.py.
        how: the attention implementation; None computes row by row on one CPU, and uses XLA's own elsewhere.
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
        self.max_batch_tokens = max_batch_tokens or memory.batch_tokens(each, mesh=mesh)
        cell = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * self._dtype.itemsize
        self._place, copies = sharding.cache(mesh, config.num_key_value_heads)
        self.capacity = memory.cache_tokens(cell, mesh=mesh, copies=copies, longest=longest)
        self.capacity = max(self.capacity, sharding.data_parallel_size(mesh) * longest)  # a text on each device
        # Windows are read, and padding is written, beyond a node's end.
        self._slack = longest + buckets.window(longest)
        self._cache: Cache | None = None
        self._nodes: dict[tuple[Ids, ...], Node] = {}
        self._used = 0
        self.usage = Usage(tokens=0, padded=0, shapes=set())

        self._programs = Programs(decoder, how=self.how, place=self._place)
        self.parameters = sum(leaf.size for leaf in jax.tree.leaves(self._programs.params))

    @property
    def programs(self) -> int:
        """The number of programs compiled so far."""
        return self._programs.compiled.count

    def log_probs(self, paths: Sequence[Path], targets: Sequence[int]) -> FloatArray:
        """Computes how probable some tokens are after each path.

        Args:
          paths: R texts in one or more pieces; a prefix of several paths is encoded once.
          targets: the C token ids.

        Returns:
          [R, C] float64, the log-probability of each target as the next token, in nats, under the whole vocabulary.

        Raises:
          ValueError: a path is longer than max_length, or has an empty piece.
        """
        leaves = [Leaf(before=tuple(path[:-1]), ids=path[-1], targets=tuple(targets)) for path in paths]
        return np.array(self._run(leaves)).reshape(len(paths), len(targets))

    def rewards(self, paths: Sequence[Path]) -> FloatArray:
        """Returns the rewards [R] float64 of R texts in pieces; for a decoder with a score head.

        Raises:
          ValueError: a path is longer than max_length, or has an empty piece.
        """
        leaves = [Leaf(before=tuple(path[:-1]), ids=path[-1], targets=()) for path in paths]
        return np.array(self._run(leaves)).reshape(len(paths))

    def log_likelihoods(self, paths: Sequence[Path], labels: Sequence[Ids]) -> FloatArray:
        """Returns the log-likelihood [R, C] float64, in nats, of each of C labels (in tokens) after each of R paths."""
        if all(len(label) == 1 for label in labels):
            return self.log_probs(paths, [label[0] for label in labels])
        of_tokens = self.token_log_probs([path for path in paths for _ in labels], [*labels] * len(paths))
        return np.array([row.sum() for row in of_tokens]).reshape(len(paths), len(labels))

    def token_log_probs(self, paths: Sequence[Path], labels: Sequence[Ids]) -> list[FloatArray]:
        """Returns the log-probabilities [len(label)] float64, in nats, of the tokens of one label after each path, each
        under the whole vocabulary and given the tokens before it. Paths that are the same are encoded once.

        Raises:
          ValueError: a path with its label is longer than max_length, or one of them is empty.
        """
        leaves = []
        for path, label in zip(paths, labels, strict=True):
            # The last token of the path is read again with each label, whose first token follows it.
            leaf = behind_its_last(path)
            leaves.append(Leaf(before=leaf.before, ids=(*leaf.ids, *label[:-1]), targets=label, label=True))
        return self._run(leaves)

    def generate(self, paths: Sequence[Path], *, limit: int, eos: Iterable[int]) -> list[list[int]]:
        """Continues each path by the likeliest tokens: at most `limit`, up to the first of `eos`."""
        seeds = [(0, 0)] * len(paths)
        return [text.ids for text in self.write(paths, limit=limit, eos=eos, sampling=None, seeds=seeds, targets=())]

    def write(
        self,
        paths: Sequence[Path],
        *,
        limit: int,
        eos: Iterable[int],
        sampling: Sampling | None,
        seeds: Sequence[tuple[int, int]],
        targets: Sequence[int],
    ) -> list[Written]:
        """Continues each path. A path may occur several times, because what paths have in common is encoded once.

        Args:
          paths: the texts to continue, each of two tokens or more.
          limit: the most tokens to write.
          eos: ids that end a text.
          sampling: None = the likeliest tokens.
          seeds: two uint32 for each path: what is written does not depend on the other paths.
          targets: C ids whose log-probabilities are wanted.

        Raises:
          ValueError: a path is longer than max_length, or too short, or has an empty piece.
        """
        leaves = [behind_its_last(path) for path in paths]
        self._check(leaves)
        if not all(leaf.before for leaf in leaves):
            raise ValueError("a path of one token cannot be continued")
        stops, wanted = np.array(sorted({*eos}) or [-1], np.int32), np.array(targets, np.int32)
        written: list[Written] = []
        for at in range(0, len(leaves), _ROWS):
            written += self._write(leaves[at : at + _ROWS], seeds[at : at + _ROWS], stops, wanted, limit, sampling)
        return written

    def _write(
        self,
        leaves: Sequence[Leaf],
        seeds: Sequence[tuple[int, int]],
        stops: Int32Array,
        targets: Int32Array,
        limit: int,
        sampling: Sampling | None,
    ) -> list[Written]:
        """Continues some paths, in as many batches as the cache has room for."""
        written = [Written(ids=[], ended=False, scores=np.empty((0, len(targets))))] * len(leaves)
        lengths = [1 + sum(map(len, leaf.before)) for leaf in leaves]
        most = self.capacity // max((len(leaf.before) for leaf in leaves), default=1)  # a node at each level
        for taken, rows, _ in buckets.pack(lengths, most, multiple=self._multiple, beside=limit):
            self.forget()
            chosen = [leaves[i] for i in taken]
            if sum(map(_cells, {leaf.before: leaf for leaf in chosen}.values())) > self.capacity:
                chosen = [in_one_piece(leaf) for leaf in chosen]
            self._grow(leaf.before for leaf in chosen)
            known = [self._nodes[leaf.before] for leaf in chosen]
            S = buckets.window(max(node.length for node in known))
            last, keys = np.zeros(rows, np.int32), np.zeros((rows, 2), np.uint32)
            last[: len(taken)] = [leaf.ids[0] for leaf in chosen]
            keys[: len(taken)] = [seeds[i] for i in taken]
            self.usage.shapes.add(("generate", S, limit, rows))
            texts = BegunTexts(*sharding.rows(self.mesh, last, *places_of(known, rows), keys))
            ids, scores = self._programs.generate(
                self._allocated(), texts, stops, targets, S=S, limit=limit, sampling=sampling
            )
            for i, row, of_targets in zip(taken, np.asarray(ids), np.asarray(scores, np.float64), strict=False):
                ends = np.flatnonzero(np.isin(row, stops))
                length = int(ends[0]) if len(ends) else limit
                written[i] = Written(ids=row[:length].tolist(), ended=len(ends) > 0, scores=of_targets[:length])
                self.usage.tokens += length
        return written

    @property
    def _multiple(self) -> int:
        return sharding.data_parallel_size(self.mesh)

    def _check(self, leaves: Sequence[Leaf]) -> None:
        for leaf in leaves:
            pieces = (*leaf.before, leaf.ids)
            if not all(pieces):
                raise ValueError("a piece of a path has no token")
            if (length := sum(map(len, pieces))) > self.max_length:
                raise ValueError(f"a path of {length} tokens, more than max_length {self.max_length}")

    def _run(self, leaves: Sequence[Leaf]) -> list[FloatArray]:
        """Scores leaves in waves; a wave has as many leaves as their prefixes fit in the cache."""
        self._check(leaves)
        leaves = [leaf if _cells(leaf) <= self.capacity else in_one_piece(leaf) for leaf in leaves]
        scores: list[FloatArray] = [np.empty(0)] * len(leaves)
        groups: dict[tuple[Ids, ...], list[int]] = {}
        for i, leaf in enumerate(leaves):
            groups.setdefault(leaf.before, []).append(i)
        wave: dict[tuple[Ids, ...], list[int]] = {}
        planned: dict[tuple[Ids, ...], int] = {}
        for before, members in groups.items():
            if self._used + sum(planned.values()) + sum(self._missing(before, planned).values()) > self.capacity:
                self._flush(wave, leaves, scores)
                wave, planned = {}, {}
                if self._used + sum(self._missing(before, planned).values()) > self.capacity:
                    self.forget()
            planned |= self._missing(before, planned)
            wave[before] = members
        self._flush(wave, leaves, scores)
        return scores

    def _missing(self, before: tuple[Ids, ...], planned: dict[tuple[Ids, ...], int]) -> dict[tuple[Ids, ...], int]:
        """Returns the prefixes of a path that are neither cached nor planned, with the tokens that each takes."""
        missing, length = {}, 0
        for depth, piece in enumerate(before, 1):
            length += len(piece)
            if before[:depth] not in self._nodes and before[:depth] not in planned:
                missing[before[:depth]] = length
        return missing

    def _flush(self, wave: dict[tuple[Ids, ...], list[int]], leaves: Sequence[Leaf], scores: list[FloatArray]) -> None:
        self._grow(wave)
        members = [i for group in wave.values() for i in group]
        for label in (False, True):
            self._score_leaves([i for i in members if leaves[i].label is label], leaves, scores, label=label)

    def forget(self) -> None:
        """Empties the cache."""
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
                parents = [self._nodes.get(path[:-1], Node(start=0, length=0)) for path in chosen]
                S = buckets.window(max(node.length for node in parents))
                made, end = [], self._used
                for path, parent in zip(chosen, parents, strict=True):
                    made.append(Node(start=end, length=parent.length + len(path[-1])))
                    end += made[-1].length
                target = np.full(rows, self.capacity, np.int32)  # of padding: into the slack
                target[: len(made)] = [node.start for node in made]
                tokens = self._tokens([path[-1] for path in chosen], rows, T)
                self._count("extend", S, T, rows, tokens=sum(len(path[-1]) for path in chosen))
                # The program takes the cache over: after an exception there is none, and nothing counts as cached.
                cache, self._cache = self._allocated(), None
                nodes, self._nodes = self._nodes, {}
                arrays = sharding.rows(self.mesh, tokens, *places_of(parents, rows), target)
                cache = self._programs.extend(cache, *arrays, S=S)
                self._cache, self._nodes, self._used = cache, nodes | dict(zip(chosen, made, strict=True)), end

    def _score_leaves(
        self, members: list[int], leaves: Sequence[Leaf], results: list[FloatArray], *, label: bool
    ) -> None:
        none = Node(start=0, length=0)
        for taken, rows, T in buckets.pack(
            [len(leaves[i].ids) for i in members], self.max_batch_tokens, multiple=self._multiple
        ):
            chosen = [leaves[members[i]] for i in taken]
            parents = [self._nodes.get(leaf.before, none) for leaf in chosen]
            S = buckets.window(max(node.length for node in parents))
            lengths = np.array([len(leaf.ids) for leaf in chosen], np.int32)
            tokens = self._tokens([leaf.ids for leaf in chosen], rows, T)
            read, start, before = sharding.rows(self.mesh, tokens, *places_of(parents, rows))
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
                of_rows = self._programs.score(self._allocated(), read, start, before, at, targets, S=S)
                scores = list(np.asarray(of_rows, np.float64)[: len(chosen)])
            for i, row in zip(taken, scores, strict=True):
                results[members[i]] = row

    def _allocated(self) -> Cache:
        """Returns the cache, made when it is first needed."""
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
        """Counts a batch that is about to be computed."""
        self._programs.compiled.make_room()
        self.usage.tokens += tokens
        self.usage.padded += rows * T
        self.usage.shapes.add((level, S, T, rows))
