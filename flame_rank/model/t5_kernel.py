"""Computes what T5 predicts after texts in pieces. Its encoder reads in both directions, so no prefix can be shared:
each path is encoded as a whole."""

from collections.abc import Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from flame_rank.model import buckets, memory, sharding, t5
from flame_rank.model.compiled import Compiled
from flame_rank.model.nodes import Ids, Int32Array, Path, Usage
from flame_rank.model.programs import at_places, in_chunks
from strategies.base import FloatArray


class T5Kernel:
    """Scores paths with an encoder-decoder.

    Attributes:
      parameters: the number of its parameters.
      usage: `tokens` counts the tokens of texts, and of labels with the begun part of their answers; `shapes` are
        (program, bucket of the texts, tokens of the answers, rows).
    """

    def __init__(self, model: t5.T5, *, mesh: Mesh, max_length: int = 2048, max_batch_tokens: int | None = None):
        """Args:
        model: the model; its parameters are on the mesh, and their dtype is that of the computation.
        mesh: rows of a batch are split over its axis `data`, heads over `model`.
        max_length: the most tokens of a whole path.
        max_batch_tokens: the most tokens of a batch, padding included; None uses the rule of model/memory.py.
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
        )
        graph, self._params = nnx.split(model)
        self.parameters = sum(leaf.size for leaf in jax.tree.leaves(self._params))
        self._next = jax.jit(lambda params, *arrays: _next(nnx.merge(graph, params), *arrays))
        self._encode = jax.jit(lambda params, *arrays: nnx.merge(graph, params).encode(*arrays))
        self._decode = jax.jit(lambda params, *arrays: nnx.merge(graph, params).decode(*arrays))
        self._at = jax.jit(lambda x, places: at_places(x, places))
        self._words = jax.jit(lambda params, *arrays: _words(nnx.merge(graph, params), *arrays))
        self._generate = jax.jit(
            lambda params, tokens, lengths, *, eos, limit: t5.generate(
                nnx.merge(graph, params), tokens, lengths, eos=eos, limit=limit
            ),
            static_argnames=("eos", "limit"),
        )
        self._compiled = Compiled(self._next, self._encode, self._decode, self._at, self._words, self._generate)
        self.usage = Usage(tokens=0, padded=0, shapes=set())

    @property
    def programs(self) -> int:
        """The number of programs compiled so far."""
        return self._compiled.count

    def log_probs(self, paths: Sequence[Path], targets: Sequence[int]) -> FloatArray:
        """Returns the log-probability [R, C] float64, in nats, of each of C ids as the next token of R answers.

        The tokens after the end of text in a path begin the answer; their number is the same in all paths.
        """
        texts, begun = self._read(paths)
        length = len(begun[0]) if begun else 0
        if any(len(answer) != length for answer in begun):
            raise ValueError("begun answers have different lengths")
        scores = np.empty((len(paths), len(targets)))
        for taken, tokens, lengths in self._batches(texts, "next", length):
            answers = np.zeros((len(tokens), length), np.int32)
            answers[: len(taken)] = [begun[i] for i in taken]
            wanted = np.tile(np.array(targets, np.int32), (len(tokens), 1))
            arrays = sharding.rows(self.mesh, tokens, lengths, answers, wanted)
            scores[taken] = np.asarray(self._next(self._params, *arrays))[: len(taken)]
        return scores

    def log_likelihoods(self, paths: Sequence[Path], labels: Sequence[Ids]) -> FloatArray:
        """Returns the log-likelihood [R, C] float64, in nats, of each of C labels as the next part of R answers."""
        if all(len(label) == 1 for label in labels):
            return self.log_probs(paths, [label[0] for label in labels])
        of_tokens = self.token_log_probs([path for path in paths for _ in labels], [*labels] * len(paths))
        return np.array([row.sum() for row in of_tokens]).reshape(len(paths), len(labels))

    def token_log_probs(self, paths: Sequence[Path], labels: Sequence[Ids]) -> list[FloatArray]:
        """Returns the log-probabilities [len(label)] float64, in nats, of the tokens of one label as the next part of
        the answer to each path. Paths that are the same are encoded once.

        Raises:
          ValueError: a path, or a label with the begun part of its answer, is longer than max_length, or empty.
        """
        texts, begun = self._read(paths)
        answers = [before + label for before, label in zip(begun, labels, strict=True)]
        longest = max(map(len, answers), default=0)
        if longest > self.max_length:
            raise ValueError(f"an answer of {longest} tokens, more than max_length {self.max_length}")
        if not all(labels):
            raise ValueError("a label without a token")
        results: list[FloatArray] = [np.empty(0)] * len(paths)
        members: dict[Ids, list[int]] = {}
        for i, text in enumerate(texts):
            members.setdefault(text, []).append(i)
        distinct = list(members)
        for taken, tokens, lengths in self._batches(distinct, "encode", 0):
            encoded = self._encode(self._params, *sharding.rows(self.mesh, tokens, lengths))  # [B, S, D]
            S = tokens.shape[1]
            asked = [(b, i) for b, text in enumerate(taken) for i in members[distinct[text]]]
            sizes = [len(answers[i]) for _, i in asked]
            for some, rows, T in buckets.pack(sizes, self.max_batch_tokens, multiple=self._multiple, beside=S):
                text_of = np.zeros(rows, np.int32)
                text_of[: len(some)] = [asked[k][0] for k in some]
                chosen = [asked[k][1] for k in some]
                self._count("label", S, T, rows, tokens=sum(len(answers[i]) for i in chosen))
                scores = self._behind(
                    encoded, lengths, text_of, [begun[i] for i in chosen], [labels[i] for i in chosen], T=T
                )
                for i, row in zip(chosen, scores, strict=True):
                    results[i] = row
        return results

    def _behind(
        self,
        encoded: jax.Array,
        lengths: Int32Array,
        text_of: Int32Array,
        begun: Sequence[Ids],
        labels: Sequence[Ids],
        *,
        T: int,
    ) -> list[FloatArray]:
        """Returns the log-probabilities of the tokens of each label, after the begun part of its answer.

        Args:
          encoded: [B, S, D], the texts.
          lengths: [B] int32, of the texts.
          text_of: [R] int32, the row of each answer's text; the last ones may be padding.
          T: the padded length of an answer in tokens.
        """
        tokens, places = np.zeros((len(text_of), T), np.int32), []
        for r, (before, label) in enumerate(zip(begun, labels, strict=True)):
            ids = (self.config.decoder_start_token_id, *before, *label[:-1])
            tokens[r, : len(ids)] = ids
            places.append(r * T + np.arange(len(before), len(ids), dtype=np.int32))
        rows, read, of_texts = sharding.rows(self.mesh, text_of, tokens, lengths[text_of])
        texts = jnp.take(encoded, rows, axis=0, mode="clip")  # [R, S, D]
        hidden = self._decode(self._params, read, texts, of_texts)  # [R, T, D]
        targets = np.concatenate([np.array(label, np.int32) for label in labels])
        scores = in_chunks(
            lambda some, wanted: self._words(self._params, self._at(hidden, some), wanted),
            np.concatenate(places),
            targets,
        )
        return np.split(scores.astype(np.float64), np.cumsum([len(label) for label in labels])[:-1])

    def generate(self, paths: Sequence[Path], *, limit: int, eos: Iterable[int]) -> list[list[int]]:
        """Answers each path greedily: at most `limit` tokens, up to the first of `eos`."""
        stops = tuple(sorted({*eos}))
        written: list[list[int]] = [[] for _ in paths]
        texts, begun = self._read(paths)
        if any(begun):
            raise ValueError("a begun answer cannot be continued")
        for taken, tokens, lengths in self._batches(texts, "generate", limit):
            out = np.asarray(
                self._generate(self._params, *sharding.rows(self.mesh, tokens, lengths), eos=stops, limit=limit)
            )
            for i, row in zip(taken, out, strict=False):
                ends = np.flatnonzero(np.isin(row, stops))
                written[i] = [int(token) for token in row[: ends[0] if len(ends) else limit]]
        return written

    def _read(self, paths: Sequence[Path]) -> tuple[list[Ids], list[Ids]]:
        """Returns the part of each path that the encoder reads, and the begun part of its answer."""
        whole = [tuple(token for piece in path for token in piece) for path in paths]
        longest = max(map(len, whole), default=0)
        if longest > self.max_length:
            raise ValueError(f"a path of {longest} tokens, more than max_length {self.max_length}")
        if not all(whole):
            raise ValueError("a path without a token: nothing to read")
        parts = [self.parted(ids) for ids in whole]
        return [text for text, _ in parts], [answer for _, answer in parts]

    def _batches(
        self, texts: Sequence[Ids], program: str, length: int
    ) -> Iterator[tuple[list[int], Int32Array, Int32Array]]:
        """Packs texts for a program whose answers have `length` tokens.

        Yields:
          The indices of the texts, tokens [B, S] int32 and lengths [B] int32.
        """
        sizes = [len(ids) for ids in texts]
        for taken, rows, S in buckets.pack(sizes, self.max_batch_tokens, multiple=self._multiple):
            tokens, lengths = np.zeros((rows, S), np.int32), np.zeros(rows, np.int32)
            for b, i in enumerate(taken):
                tokens[b, : len(texts[i])], lengths[b] = texts[i], len(texts[i])
            self._count(program, S, length, rows, tokens=int(lengths.sum()))
            yield taken, tokens, lengths

    @property
    def _multiple(self) -> int:
        return sharding.data_parallel_size(self.mesh)

    def _count(self, program: str, S: int, T: int, rows: int, *, tokens: int) -> None:
        """Counts a batch that is about to be computed."""
        self._compiled.make_room()
        self.usage.tokens += tokens
        self.usage.padded += rows * (T if program == "label" else S)
        self.usage.shapes.add((program, S, T, rows))

    def parted(self, ids: Ids) -> tuple[Ids, Ids]:
        """Splits a path's ids into what the encoder reads, its end of text included, and the begun answer."""
        end = next((i for i, token in enumerate(ids) if token in self._ends), len(ids) - 1) + 1
        return ids[:end], ids[end:]


def _next(model: t5.T5, tokens: jax.Array, lengths: jax.Array, answers: jax.Array, targets: jax.Array) -> jax.Array:
    """Computes the log-probabilities [B, C] float32 of targets [B, C] after the begun answers [B, T]."""
    start = jnp.full((tokens.shape[0], 1), model.config.decoder_start_token_id, jnp.int32)
    hidden = model.decode(jnp.concatenate([start, answers], 1), model.encode(tokens, lengths), lengths)
    logits = model.logits(hidden[:, -1])  # [B, V]
    return jnp.take_along_axis(logits, targets, 1) - jax.nn.logsumexp(logits, 1, keepdims=True)


def _words(model: t5.T5, hidden: jax.Array, targets: jax.Array) -> jax.Array:
    """Computes the log-probabilities [P] float32 of the next tokens `targets` [P], from the decoder's output [P, D]."""
    with jax.named_scope("words"):
        logits = model.logits(hidden)  # [P, V]
        return jnp.take_along_axis(logits, targets[:, None], 1)[:, 0] - jax.nn.logsumexp(logits, 1)
