"""Weights that both sides of a comparison can make for themselves, so that a golden file need not hold them."""

import zlib

import numpy as np
import numpy.typing as npt

TABLES = ("shared.weight", "embed_tokens.weight", "embeddings.weight", "relative_attention_bias.weight")
GAIN = 1.5  # of a layer; with it the logits of a tiny model are between 1 and 10


def random_tensor(name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """The tensor of a name, the same on every machine and in every version of numpy.

    Norms are 1 +- 0.3, biases +- 0.3, the rows of tables +- 1, matrices [out, in] +- GAIN / sqrt(in): nothing is 0 or 1
    throughout, so that whatever is left out shows.
    """
    # RandomState, because its stream is frozen for good; that of default_rng is not.
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.lower().endswith("norm.weight"):
        values = 1 + 0.3 * values
    elif name.endswith(TABLES):
        pass
    elif len(shape) < 2:
        values = 0.3 * values
    else:
        values = values * GAIN / np.sqrt(shape[-1])
    if name.endswith("Attention.q.weight"):  # T5 does not scale its scores; so sharp, f32 would not do
        values = values * 0.35
    return values.astype(np.float32)
