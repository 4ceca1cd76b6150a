"""Training the encoder: it learns, and a run that was interrupted ends as one that was not."""

import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from flax import nnx

from flame_rank.model import checkpoint
from flame_rank.model.encoder import Encoder, EncoderConfig
from flame_rank.model.tokenizer import Row, RowTokenizer, pad
from trainer.comparisons import Comparison
from trainer.fit import Recipe, fit, loss, optimiser, rows
from trainer.sampling import Mixture

WORDS = ["if", "else", "for", "in", "while", "the", "which", "response"]


def encoder(seed: int = 0) -> Encoder:
    config = EncoderConfig(
        vocab_size=160,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    return Encoder(config, nnx.Rngs(seed))


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer: Path) -> RowTokenizer:
    return RowTokenizer(tiny_tokenizer, max_prompt=8, max_length=32)


def preferences(count: int, seed: int) -> list[Comparison]:
    """The better answer is the one that holds the word "better"."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        better, worse = (list(rng.choice(WORDS, 5)) for _ in range(2))
        better[rng.integers(5)] = "better"
        made.append(Comparison(prompt=f"which {i}", better=" ".join(better), worse=" ".join(worse)))
    return made


RECIPE = Recipe(steps=130, pairs=8, rate=1e-2, length=32, max_prompt=8, seed=7)


class Words(Mixture):
    """One source, which every step draws from."""

    def batch(self, seed: int, step: int, size: int) -> list[Comparison]:
        return random.Random(f"{seed} {step}").choices(self.sources["words"], k=size)


MIXTURE = Words(pools=[], sources={"words": preferences(200, 0)})


def arrays(read: list[Row]) -> tuple[jax.Array, jax.Array]:
    tokens, types = pad(read, len(read), 32)
    return jnp.asarray(tokens), jnp.asarray(types)


def measured(trained: Encoder, tokenizer: RowTokenizer, comparisons: list[Comparison]) -> tuple[float, float]:
    """The mean loss in nats and the share judged rightly."""
    read = rows(tokenizer, comparisons)
    value, right = loss(*nnx.split(trained), *arrays(read))
    return float(value), float(right)


@dataclass
class Run:
    """One training run, with its state as an interruption would have left it."""

    trained: dict[str, npt.NDArray[Any]]
    said: list[str]
    asked: list[tuple[int, int, int]]
    kept: Path
    before: tuple[float, float]
    after: tuple[float, float]


@pytest.fixture(scope="module")
def run(tokenizer: RowTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    said: list[str] = []
    asked: list[tuple[int, int, int]] = []

    class Recorded(Words):
        def batch(self, seed: int, step: int, size: int) -> list[Comparison]:
            asked.append((seed, step, size))
            return super().batch(seed, step, size)

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("step 120/"):
            shutil.copyfile(folder / "state", folder / "kept")

    mixture = Recorded(pools=[], sources=MIXTURE.sources)
    unseen = preferences(100, 1)
    before = measured(encoder(), tokenizer, unseen)
    trained = fit(encoder(), tokenizer, mixture, RECIPE, state=folder / "state", say=say)
    return Run(
        trained=checkpoint.to_tensors(nnx.split(trained)[1]),
        said=said,
        asked=asked,
        kept=folder / "kept",
        before=before,
        after=measured(trained, tokenizer, unseen),
    )


def test_learns_a_preference(run: Run) -> None:
    (before, by_chance), (after, right) = run.before, run.after
    assert before == pytest.approx(np.log(2), abs=0.1)
    assert by_chance < 0.8
    assert right >= 0.95
    assert after < before / 2


def test_says_how_far_it_is(run: Run) -> None:
    assert [line.split("  ")[0] for line in run.said] == [f"step {n}/130" for n in (20, 40, 60, 80, 100, 120, 130)]
    assert run.said[-1].endswith("  0 min left")


def test_sees_each_step_of_its_seed_once(run: Run) -> None:
    assert run.asked == [(RECIPE.seed, step, RECIPE.pairs) for step in range(RECIPE.steps)]


def test_an_interrupted_run_ends_as_an_uninterrupted_one(run: Run, tokenizer: RowTokenizer) -> None:
    said: list[str] = []
    # Started from other weights: all that counts is what the state holds.
    trained = fit(encoder(seed=1), tokenizer, MIXTURE, RECIPE, state=run.kept, say=said.append)
    assert said[0] == "taken up at step 100"
    assert said[1].startswith("step 120/130")
    resumed = checkpoint.to_tensors(nnx.split(trained)[1])
    assert resumed.keys() == run.trained.keys()
    for name, tensor in run.trained.items():
        np.testing.assert_array_equal(tensor, resumed[name], err_msg=name)


def test_the_loss_is_the_logistic_loss_of_the_difference(tokenizer: RowTokenizer) -> None:
    comparisons = preferences(3, 2)
    read = rows(tokenizer, comparisons)
    one = encoder()
    quality = np.asarray(one(*arrays(read))[0], np.float64)
    each = np.log1p(np.exp(quality[3:] - quality[:3]))  # the better ones stand first
    value, right = measured(one, tokenizer, comparisons)
    assert value == pytest.approx(each.mean(), abs=1e-6)
    assert right == pytest.approx((quality[:3] > quality[3:]).mean())


def test_rows_are_the_better_answers_then_the_worse(tokenizer: RowTokenizer) -> None:
    comparisons = preferences(2, 3)
    better = [tokenizer.rows(c.prompt, [c.better])[0] for c in comparisons]
    worse = [tokenizer.rows(c.prompt, [c.worse])[0] for c in comparisons]
    assert rows(tokenizer, comparisons) == better + worse


def test_the_rate_rises_and_falls() -> None:
    recipe = Recipe(steps=40, rate=0.5, weight_decay=0.0)
    tx = optimiser(recipe)
    params = {"w": np.zeros(3, np.float32)}
    state = tx.init(params)
    sizes = []
    for _ in range(recipe.steps):
        # However large the gradients: they are clipped, and Adam's step is the rate for constant ones.
        updates, state = tx.update({"w": np.full(3, 1e3, np.float32)}, state, params)
        sizes.append(float(abs(jax.tree.leaves(updates)[0][0])))
    assert sizes[0] == 0.0
    assert np.argmax(sizes) == 4
    assert max(sizes) == pytest.approx(0.5, rel=0.01)
    assert sizes[-1] < 0.01
    assert np.all(np.diff(sizes[4:]) < 0)
