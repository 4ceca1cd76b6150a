"""The programs of the kernel: writing nodes into the cache, scoring leaves, and generating.

All except generating are compiled one layer at a time, and layers of one kind share a program: a model of thirty layers
compiles in the time of one, and the weights are arguments of the program, not copies in it. In a layer's cache [2, C,
K, H] a row's prefix starts at `start` and is `before` tokens long; `S` is the bucket of the prefixes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import nnx
from jax.sharding import NamedSharding

from flame_rank.model.cache import Cache, window
from flame_rank.model.choices import Attend
from flame_rank.model.compiled import Compiled
from flame_rank.model.decoder import Decoder, Layer, View, views
from flame_rank.model.generation import Sampling, generate

CHUNK = 512  # positions whose words are scored at once
WORDS = 4096  # how many of the vocabulary a single CPU scores at once


def begin(decoder: Decoder, tokens: jax.Array, before: jax.Array, *, S: int) -> tuple[jax.Array, tuple[View, ...]]:
    """Computes the input [B, T, D] of the first layer, and the view of each kind of layer."""
    x = decoder.embed(tokens)
    return x, views(decoder.config, before, tokens.shape[1], S, x.dtype)


def write(
    layer: Layer,
    cache: jax.Array,
    x: jax.Array,
    view: View,
    start: jax.Array,
    before: jax.Array,
    target: jax.Array,
    *,
    S: int,
    how: Attend,
) -> tuple[jax.Array, jax.Array]:
    """Computes a layer's part of writing nodes into the cache.

    Args:
      cache: [2, C, K, H], the layer's keys and values.
      x: [B, T, D], the layer's input for the nodes' own tokens.
      start, before: [B] int32, the start and the length of each prefix in the cache.
      target: [B] int32, ascending: where each node is written, its prefix first. What is written beyond a node's end is
        overwritten by the next node.
      S: the prefixes' bucket.

    Returns:
      The next layer's input [B, T, D], and the cache.
    """
    _, _, K, H = cache.shape
    x, own = layer(x, view, prefix=window(cache, start, S), how=how)
    fresh = jnp.stack(own)  # [2, B, T, K, H]

    def node(b: jax.Array, cache: jax.Array) -> jax.Array:
        if S:
            prefix = jax.lax.dynamic_slice(cache, (0, start[b], 0, 0), (2, S, K, H))
            cache = jax.lax.dynamic_update_slice(cache, prefix, (0, target[b], 0, 0))
        tokens = jax.lax.dynamic_index_in_dim(fresh, b, 1, keepdims=False)  # [2, T, K, H]
        return jax.lax.dynamic_update_slice(cache, tokens, (0, target[b] + before[b], 0, 0))

    with jax.named_scope("write"):
        return x, jax.lax.fori_loop(0, x.shape[0], node, cache)


def read(
    layer: Layer,
    cache: jax.Array,
    x: jax.Array,
    view: View,
    start: jax.Array,
    places: jax.Array | None,
    *,
    S: int,
    how: Attend,
) -> jax.Array:
    """Computes a layer's part of reading leaves; arguments as in `write`.

    Args:
      places: [B, R] int32, the positions whose output is wanted; None = all.

    Returns:
      [B, R, D] or [B, T, D].
    """
    return layer(x, view, prefix=window(cache, start, S), read=places, how=how)[0]


def verdicts(decoder: Decoder, x: jax.Array, targets: jax.Array) -> jax.Array:
    """Computes the log-probabilities [B, C] float32 of the next tokens `targets` [C], from the last layer's output
    [B, 1, D]."""
    with jax.named_scope("verdict"):
        logits = decoder.logits(decoder.model.norm(x[:, 0]))  # [B, V]
        return logits[:, targets] - jax.nn.logsumexp(logits, -1, keepdims=True)


def rewards(decoder: Decoder, x: jax.Array, targets: jax.Array) -> jax.Array:
    """Computes the rewards [B, 1] float32 from the last layer's output [B, 1, D]; used instead of `verdicts`,
    without targets."""
    with jax.named_scope("reward"):
        return decoder.reward(decoder.model.norm(x))


def words(decoder: Decoder, x: jax.Array, targets: jax.Array, *, how: Attend) -> jax.Array:
    """Computes the log-probabilities [P] float32 of the next tokens `targets` [P], from the last layer's output [P,
    D]."""
    with jax.named_scope("words"):
        x = decoder.model.norm(x)
        if how == "rows":  # one CPU
            wanted = jax.vmap(decoder.logits)(x, decoder.head[targets][:, None])[:, 0]
            return wanted - _log_total(decoder, x)
        logits = decoder.logits(x)  # [P, V]
        return jnp.take_along_axis(logits, targets[:, None], -1)[:, 0] - jax.nn.logsumexp(logits, -1)


def _log_total(decoder: Decoder, x: jax.Array) -> jax.Array:
    """Computes the log of the sum of exp of all logits, [P], of x [P, D], for a part of the vocabulary at a time:
    all logits together do not fit into the processor's cache, and reading them again takes as long as the product."""
    head = decoder.head
    size = min(WORDS, head.shape[0])

    def block(i: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        most, total = state
        start = jnp.minimum(i * size, head.shape[0] - size)  # the last block starts earlier, to end with the last word
        logits = decoder.logits(x, jax.lax.dynamic_slice_in_dim(head, start, size))  # [P, size]
        logits = jnp.where(start + jnp.arange(size) >= i * size, logits, -jnp.inf)
        higher = jnp.maximum(most, logits.max(-1))
        return higher, total * jnp.exp(most - higher) + jnp.exp(logits - higher[:, None]).sum(-1)

    start = jnp.full(x.shape[0], -jnp.inf, jnp.float32), jnp.zeros(x.shape[0], jnp.float32)
    most, total = jax.lax.fori_loop(0, -(-head.shape[0] // size), block, start)
    return jnp.add(most, jnp.log(total))


def at_places(x: jax.Array, places: jax.Array) -> jax.Array:
    """Selects x [B, T, D] at positions [P], counted through all rows; a separate program, so that `words` has one
    shape."""
    return x.reshape(-1, x.shape[-1])[places]


def in_chunks(
    score: Callable[[npt.NDArray[np.int32], npt.NDArray[np.int32]], jax.Array],
    places: npt.NDArray[np.int32],
    targets: npt.NDArray[np.int32],
) -> npt.NDArray[np.float32]:
    """Calls `score` for positions and their targets, [P] -> [P], CHUNK of them at a time, so that it has one shape."""
    chunks = []
    for at in range(0, len(places), CHUNK):
        some, wanted = np.zeros(CHUNK, np.int32), np.zeros(CHUNK, np.int32)
        count = len(places[at : at + CHUNK])
        some[:count], wanted[:count] = places[at : at + CHUNK], targets[at : at + CHUNK]
        chunks.append((score(some, wanted), count))
    return np.concatenate([np.asarray(scores)[:count] for scores, count in chunks])


class Programs:
    """A decoder's programs, compiled when they are first needed.

    Attributes:
      params: the parameters of the whole decoder.
      compiled: the programs that were compiled so far.
    """

    def __init__(self, decoder: Decoder, *, how: Attend, place: NamedSharding):
        graph, self.params = nnx.split(decoder)
        self._kinds = decoder.layer_kinds
        self._layers = [jax.tree.leaves(nnx.state(layer)) for layer in decoder.model.layers]
        of_layer, state = nnx.split(decoder.model.layers[0])
        structure = jax.tree.structure(state)

        def whole(params: Any) -> Decoder:
            return nnx.merge(graph, params)

        def layer(leaves: Sequence[jax.Array]) -> Layer:
            return nnx.merge(of_layer, jax.tree.unflatten(structure, leaves))

        self._begin = jax.jit(lambda params, *arrays, S: begin(whole(params), *arrays, S=S), static_argnames="S")
        self._write = jax.jit(
            lambda leaves, *arrays, S: write(layer(leaves), *arrays, S=S, how=how),
            static_argnames="S",
            donate_argnums=1,
            out_shardings=(None, place),
        )
        # Nothing reads the output of the last layer: what is not returned is not computed.
        self._close = jax.jit(
            lambda leaves, *arrays, S: write(layer(leaves), *arrays, S=S, how=how)[1],
            static_argnames="S",
            donate_argnums=1,
            out_shardings=place,
        )
        self._read = jax.jit(lambda leaves, *arrays, S: read(layer(leaves), *arrays, S=S, how=how), static_argnames="S")
        last = rewards if decoder.config.score_head else verdicts
        self._verdicts = jax.jit(lambda params, *arrays: last(whole(params), *arrays))
        self._at = jax.jit(lambda x, places: at_places(x, places))
        self._words = jax.jit(lambda params, *arrays: words(whole(params), *arrays, how=how))
        self._generate = jax.jit(
            lambda params, *arrays, S, limit, sampling: generate(
                whole(params), *arrays, S=S, limit=limit, sampling=sampling, how=how
            ),
            static_argnames=("S", "limit", "sampling"),
        )
        self.compiled = Compiled(
            self._begin,
            self._write,
            self._close,
            self._read,
            self._verdicts,
            self._at,
            self._words,
            self._generate,
        )

    def extend(
        self, cache: Cache, tokens: jax.Array, start: jax.Array, before: jax.Array, target: jax.Array, *, S: int
    ) -> Cache:
        """Writes nodes into the cache, whose buffer is donated; arguments as in `write`, tokens [B, T] int32."""
        x, seen = self._begin(self.params, tokens, before, S=S)
        for i, (leaves, kind) in enumerate(zip(self._layers, self._kinds, strict=True)):
            arrays = (leaves, cache[i], x, seen[kind], start, before, target)
            if i + 1 < len(self._layers):
                x, cache[i] = self._write(*arrays, S=S)
            else:
                cache[i] = self._close(*arrays, S=S)
        return cache

    def score(
        self,
        cache: Cache,
        tokens: jax.Array,
        start: jax.Array,
        before: jax.Array,
        last: jax.Array,
        targets: npt.NDArray[np.int32],
        *,
        S: int,
    ) -> jax.Array:
        """Computes the log-probabilities [B, C] float32 of the next tokens `targets` [C] after the positions `last`
        [B, 1]."""
        x = self._output(cache, tokens, start, before, last, S=S)
        scores: jax.Array = self._verdicts(self.params, x, targets)
        return scores

    def likelihood(
        self,
        cache: Cache,
        tokens: jax.Array,
        start: jax.Array,
        before: jax.Array,
        places: npt.NDArray[np.int32],
        targets: npt.NDArray[np.int32],
        *,
        S: int,
    ) -> npt.NDArray[np.float32]:
        """Computes the log-probabilities [P] float32 of the next tokens `targets` [P] at the positions `places` [P]
        of `tokens`, counted through all rows."""
        x = self._output(cache, tokens, start, before, None, S=S)
        return in_chunks(lambda some, wanted: self._words(self.params, self._at(x, some), wanted), places, targets)

    def _output(
        self,
        cache: Cache,
        tokens: jax.Array,
        start: jax.Array,
        before: jax.Array,
        places: jax.Array | None,
        *,
        S: int,
    ) -> jax.Array:
        """Returns the last layer's output at the positions `places` [B, R], or at all of them."""
        x: jax.Array
        x, seen = self._begin(self.params, tokens, before, S=S)
        last = len(self._layers) - 1
        for i, (leaves, kind) in enumerate(zip(self._layers, self._kinds, strict=True)):
            x = self._read(leaves, cache[i], x, seen[kind], start, places if i == last else None, S=S)
        return x

    def generate(
        self, cache: Cache, *arrays: Any, S: int, limit: int, sampling: Sampling | None
    ) -> tuple[jax.Array, jax.Array]:
        """Continues texts; arguments as in the function `generate`."""
        written: tuple[jax.Array, jax.Array] = self._generate(
            self.params, cache, *arrays, S=S, limit=limit, sampling=sampling
        )
        return written
