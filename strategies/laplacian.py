"""Solves with the Laplacian of a graph of comparisons without building it: memory grows with the edges, not the
pairs."""

import numpy as np
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import LinearOperator, cg

from strategies.base import FloatArray, IntArray

_ROUNDS = 100  # of messages: along a chain, each candidate hears of so many others on either side


def differences(pairs: IntArray, n: int) -> csr_array:
    """Builds the matrix [E, n] that maps scores [n] to differences: for each of the pairs [E, 2], the score of the
    first minus the score of the second.
    """
    entries = np.tile([1.0, -1.0], len(pairs))
    columns = pairs.flatten()  # a copy, because scipy sorts them in place
    return csr_array((entries, columns, np.arange(len(pairs) + 1) * 2), shape=(len(pairs), n))


def centred(scores: FloatArray, part: IntArray) -> FloatArray:
    """Subtracts from each score [n] the mean score of its part of the graph; part: [n] labels, 0 or more."""
    mean = np.bincount(part, scores) / np.maximum(np.bincount(part), 1)
    result: FloatArray = scores - mean[part]
    return result


def solve(
    difference: csr_array,
    weight: FloatArray,
    prior: FloatArray | float,
    right: FloatArray,
    *,
    rtol: float,
    atol: float = 0.0,
) -> FloatArray:
    """Solves (D^T diag(weight) D + prior) x = right for x [n] by conjugate gradients.

    Args:
      difference: D [E, n].
      weight: [E] float64.
      prior: added to the diagonal; [n], or one number for all.
      right: [n] float64; without a prior it sums to 0 over each part, and so does x.
      rtol: norm of the final residual, relative to the norm of `right`.
      atol: norm of the final residual, absolute; the rounding error in `right`.
    """
    diagonal = abs(difference).T @ weight + prior
    scale = 1 / np.where(diagonal > 0, diagonal, 1.0)

    def product(x: FloatArray) -> FloatArray:
        y: FloatArray = difference.T @ (weight * (difference @ x)) + prior * x
        return y

    matrix = LinearOperator((len(right), len(right)), product, dtype=float)
    x: FloatArray = cg(matrix, right, rtol=rtol, atol=atol, M=diags_array(scale))[0]
    return x


def marginals(pairs: IntArray, n: int, prior: float) -> tuple[FloatArray, float]:
    """Computes the diagonal [n] of (L + prior)^-1 and the logarithm of the determinant of L + prior by belief
    propagation, L being the Laplacian of the pairs [E, 2]. Both are exact if the graph is a forest, and close if its
    cycles are long; around cycles the diagonal lacks the part of the constant vector, 1 / (n prior), and the
    determinant its factor, `prior`.

    Weiss, Freeman: Correctness of belief propagation in Gaussian graphical models, Neural Computation 13, 2001.
    """
    edges = len(pairs)
    source, target = np.concatenate([pairs, pairs[:, ::-1]]).T  # [2E], both directions of each edge
    back = np.roll(np.arange(2 * edges), edges)  # the same edge in the other direction
    message = np.ones(2 * edges)  # the precision that the source adds to what is known of the target
    for _ in range(_ROUNDS):
        precision = prior + np.bincount(target, message, n)
        others = precision[source] - message[back]  # of the source, without what it heard from this target
        before, message = message, others / (1 + others)
        if np.abs(message - before).max(initial=0.0) < 1e-6:
            break
    precision = prior + np.bincount(target, message, n)
    first, second = (precision[source] - message[back]).reshape(2, edges)
    alone = (first + second + first * second) / ((1 + first) * (1 + second))  # 1 - the correlation squared, of an edge
    return 1 / precision, float(np.log(precision).sum() - np.log(alone).sum())
