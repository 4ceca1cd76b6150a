"""What T5 says after texts in pieces. Its encoder reads both ways, so nothing is shared: each path is encoded whole."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from flame_rank.model import buckets, memory, sharding, t5
from flame_rank.model.kernel import Ids, Int32Array, Path, Usage
from strategies.base import FloatArray


class T5Kernel:
    """Scores paths with an encoder-decoder.

    Attributes:
      parameters: numbers in its weights.
    """

    def __init__(self, model: t5.T5, *, mesh: Mesh, max_length: int = 2048, max_batch_tokens: int | None = None):
        """Args:
        model: its parameters lie on the mesh; their dtype is that of the computation.
        mesh: rows of a batch are split over its axis `data`, heads over `model`.
        max_length: tokens of a whole path.
        max_batch_tokens: tokens of a batch, padding included; without it by the rule of model/memory.py.
        """
        self.config, self.mesh, self.max_length = model.config, mesh, max_length
        self.vocab_size = model.config.vocab_size
        dtype = model.shared.weight[...].dtype
        self.dtype = dtype.name
        ends = model.config.eos_token_id
        self._ends = {ends} if isinstance(ends, int) else {*ends}
        self.max_batch_tokens = max_batch_tokens or memory.batch_tokens(
            memory.token_bytes(
                model.config.d_model,
                model.config.d_ff,
                itemsize=dtype.itemsize,
                scores=3 * model.config.num_heads * buckets.length(max_length),  # with the bias of each pair of places
            ),
            mesh=mesh,
            longest=buckets.length(max_length),
        )
        graph, self._params = nnx.split(model)
        self.parameters = sum(leaf.size for leaf in jax.tree.leaves(self._params))
        self._score = jax.jit(lambda params, *arrays: t5.score(nnx.merge(graph, params), *arrays))
        self._next = jax.jit(lambda params, *arrays: _next(nnx.merge(graph, params), *arrays))
        self._generate = jax.jit(
            lambda params, tokens, lengths, *, eos, limit: t5.generate(
                nnx.merge(graph, params), tokens, lengths, eos=eos, limit=limit
            ),
            static_argnames=("eos", "limit"),
        )
        self.usage = Usage(tokens=0, padded=0, shapes=set())

    @property
    def programs(self) -> int:
        """Number of programs compiled so far."""
        return sum(cast(Any, f)._cache_size() for f in (self._score, self._next, self._generate))

    def log_probs(self, paths: Sequence[Path], targets: Sequence[int]) -> FloatArray:
        """The log-probability [R, C] float64, in nats, of each of C ids as what R answers begin with.

        In a path, what stands behind the end of text is the beginning of the answer, as long in all paths.
        """
        found = np.empty((len(paths), len(targets)))
        for taken, tokens, lengths, answers in self._batches(paths, "next", 0):
            wanted = np.tile(np.array(targets, np.int32), (len(tokens), 1))
            arrays = sharding.rows(self.mesh, tokens, lengths, answers, wanted)
            found[taken] = np.asarray(self._next(self._params, *arrays))[: len(taken)]
        return found

    def log_likelihoods(self, paths: Sequence[Path], labels: Sequence[Ids]) -> FloatArray:
        """The log-likelihood [R, C] float64, in nats, of each of C labels as what R answers begin with."""
        if all(len(label) == 1 for label in labels):
            return self.log_probs(paths, [label[0] for label in labels])
        found = np.empty((len(paths), len(labels)))
        longest = max(map(len, labels))
        for taken, tokens, lengths, answers in self._batches(paths, "score", longest):
            begun = answers.shape[1]
            for c, label in enumerate(labels):
                wanted = np.zeros((len(tokens), begun + longest), np.int32)
                wanted[:, :begun], wanted[:, begun : begun + len(label)] = answers, label
                ends = np.full(len(tokens), begun + len(label), np.int32)
                scores = self._score(self._params, *sharding.rows(self.mesh, tokens, lengths, wanted, ends))
                found[taken, c] = np.asarray(scores)[: len(taken), begun:].sum(1)
        return found

    def generate(self, paths: Sequence[Path], *, limit: int, eos: Iterable[int]) -> list[list[int]]:
        """The tokens, at most `limit`, of the greedy answer to each path, up to the first of `eos`."""
        stops = tuple(sorted({*eos}))
        written: list[list[int]] = [[] for _ in paths]
        for taken, tokens, lengths, answers in self._batches(paths, "generate", limit):
            if answers.size:
                raise ValueError("an answer that is begun is not gone on with")
            out = np.asarray(
                self._generate(self._params, *sharding.rows(self.mesh, tokens, lengths), eos=stops, limit=limit)
            )
            for i, row in zip(taken, out, strict=False):
                ends = np.flatnonzero(np.isin(row, stops))
                written[i] = [int(token) for token in row[: ends[0] if len(ends) else limit]]
        return written

    def _batches(
        self, paths: Sequence[Path], program: str, more: int
    ) -> Iterable[tuple[list[int], Int32Array, Int32Array, Int32Array]]:
        """Packs whole paths for a program that takes `more` tokens of each answer.

        Yields:
          which, tokens [B, S], lengths [B] and begun answers [B, T] int32.
        """
        whole = [[token for piece in path for token in piece] for path in paths]
        longest = max(map(len, whole), default=0)
        if longest > self.max_length:
            raise ValueError(f"a path of {longest} tokens, more than max_length {self.max_length}")
        if not all(whole):
            raise ValueError("a path without a token: nothing to read")
        texts, answers = zip(*map(self.parted, whole), strict=True) if whole else ((), ())
        begun = len(answers[0]) if answers else 0
        if any(len(answer) != begun for answer in answers):
            raise ValueError("answers that are begun have different lengths")
        multiple = sharding.shares(self.mesh)
        for taken, rows, S in buckets.pack([len(ids) for ids in texts], self.max_batch_tokens, multiple=multiple):
            tokens, lengths = np.zeros((rows, S), np.int32), np.zeros(rows, np.int32)
            answered = np.zeros((rows, begun), np.int32)
            for b, i in enumerate(taken):
                tokens[b, : len(texts[i])], lengths[b], answered[b] = texts[i], len(texts[i]), answers[i]
            self.usage.tokens += int(lengths.sum())
            self.usage.padded += rows * S
            self.usage.shapes.add((program, S, begun + more, rows))
            yield taken, tokens, lengths, answered

    def parted(self, ids: list[int]) -> tuple[list[int], list[int]]:
        """Of a path's ids: what the encoder reads, its end of text included, and how the decoder has begun."""
        end = next((i for i, token in enumerate(ids) if token in self._ends), len(ids) - 1) + 1
        return ids[:end], ids[end:]


def _next(model: t5.T5, tokens: jax.Array, lengths: jax.Array, answers: jax.Array, targets: jax.Array) -> jax.Array:
    """Log-probabilities [B, C] float32 of targets [B, C] behind answers [B, T] that are begun."""
    start = jnp.full((tokens.shape[0], 1), model.config.decoder_start_token_id, jnp.int32)
    hidden = model.decode(jnp.concatenate([start, answers], 1), model.encode(tokens, lengths), lengths)
    logits = model.logits(hidden[:, -1])  # [B, V]
    return jnp.take_along_axis(logits, targets, 1) - jax.nn.logsumexp(logits, 1, keepdims=True)
