"""What the tests have in common: no network, and a judge small enough to be made on the spot."""

import socket
import string
import tarfile
from pathlib import Path
from typing import Any

import pytest

# jax_numpy_rank_promotion stays as it is: the encoder adds a bias [D] to [B, T, D], as numpy would.


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches for the network fails here, not first on a machine without one."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            raise AssertionError(f"a test connects to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


def vocabulary() -> dict[str, int]:
    """The word pieces of the tiny tokenizer, [PAD] first: every ASCII text comes out without an unknown piece."""
    signs = string.ascii_lowercase + string.digits
    words = ["def", "return", "if", "else", "for", "in", "while", "the", "which", "response", "is", "better", "##ing"]
    pieces = [
        *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
        *(f"[unused{i}]" for i in range(13)),
        *signs,
        *(f"##{sign}" for sign in signs),
        *string.punctuation,
        *words,
    ]
    return {piece: i for i, piece in enumerate(pieces)}


def write_tokenizer(path: Path, vocab: dict[str, int] | None = None) -> None:
    """A BERT tokenizer.json with the vocabulary above."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    vocab = vocab or vocabulary()
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([t for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if t in vocab])
    tokenizer.save(str(path))


@pytest.fixture(scope="session")
def tiny_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer.json."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path)
    return path


@pytest.fixture(scope="session")
def tiny_judge_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as `flame-train default` writes it, with random weights. Tests that change a file copy it first."""
    import jax
    import msgspec
    from flax import nnx

    from flame_rank.judges.pool import SETTINGS, TOKENIZER, WEIGHTS, Combination, Settings
    from flame_rank.model import checkpoint
    from flame_rank.model.encoder import Encoder, EncoderConfig

    folder = tmp_path_factory.mktemp("judge")
    config = EncoderConfig(
        vocab_size=len(vocabulary()),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
    )
    _, params = nnx.split(Encoder(config, nnx.Rngs(0)))
    # With weights as small as at the start of training, all candidates would look the same.
    params = jax.tree.map(lambda leaf: 5 * leaf if leaf.ndim == 2 else leaf, params)
    checkpoint.save(checkpoint.quantise(checkpoint.to_tensors(params)), folder / WEIGHTS)
    write_tokenizer(folder / TOKENIZER)
    settings = Settings(
        encoder=config.to_dict(),
        max_prompt=24,
        max_length=96,
        code=Combination(pair=2.0, encoder=1.0, overlap=8.0, cosine=2.0, vote=0.0, invalid=3.0),
        answers=Combination(pair=2.0, encoder=0.5, overlap=1.0, cosine=0.5, vote=6.0, invalid=0.0),
        prose=Combination(pair=2.0, encoder=1.5, overlap=2.0, cosine=1.0, vote=1.0, invalid=1.0),
    )
    (folder / SETTINGS).write_bytes(msgspec.json.encode(settings))
    return folder


@pytest.fixture(scope="session")
def shared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data sets in ../shared, unpacked: real human judgements, of which no line is kept here."""
    packed = Path(__file__).parents[1].parent / "shared" / "data"
    if not packed.is_dir():
        pytest.skip("needs ../shared/data, beside the checkout")
    folder = tmp_path_factory.mktemp("data")
    for part in ("train", "eval"):
        with tarfile.open(packed / f"{part}.tar.xz") as archive:
            archive.extractall(folder, filter="data")
    return folder
