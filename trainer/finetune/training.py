"""The state of a training run at a step: the model, its trained parameters, the optimiser's state and the compiled
step."""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from flame_rank.errors import UserError
from flame_rank.io.writing import part_of
from flame_rank.model import sharding
from trainer.finetune import base_model, checkpoints, lora, malloc, memory, processes, trainable
from trainer.finetune.base_model import Base
from trainer.finetune.optimiser import learning_rates, make_optimiser
from trainer.finetune.recipe import DROPOUT, Recipe
from trainer.finetune.run_options import Devices, ExampleOptions
from trainer.finetune.step import State, Sums, collate, fitting_parts, make_train_step, padded_length, real_tokens
from trainer.finetune.tokenized_rows import Row

# A layer's values of so many tokens stay in a CPU's cache: 1,024 in float32. Measured with SmolLM2-135M, --lora 32
# --freeze 10, rows of 320 tokens, on two cores: 449 tokens a second in parts of 16 rows, 562 in parts of 4, 600 in
# parts of 2. Gradients of all weights are not made of smaller parts, since each part adds to sums of the model's size.
_CACHED = 4 * 1024  # tokens, times the bytes of a number


class Training:
    """A training run at some step.

    Attributes:
      done: the number of steps so far.
      read: the number of tokens that this process has read in these steps, targets of a decoder included.
      padded: the same with padding.
    """

    def __init__(self, base: Base, recipe: Recipe, mesh: Mesh):
        """Starts at step 0.

        Args:
          base: the model; its parameters are donated, so they cannot be used after the first step.
          recipe: the recipe; values that are None are chosen for this model and these devices.

        Raises:
          UserError: the recipe does not fit the model, or the model does not fit in memory.
        """
        if recipe.share > 1 and not base.joined:
            raise UserError(f"--share {recipe.share}: it is for decoders; this model reads one input at a time")
        if recipe.freeze and (not base.joined or recipe.freeze >= base.layers):
            raise UserError(
                f"--freeze {recipe.freeze}: it is for decoders with more layers; this model has {base.layers}"
            )
        self.recipe = recipe = recipe.resolve(decoder=base.joined, platform=jax.default_backend())
        self.base, self.mesh = base, mesh
        longest = padded_length(recipe.max_input + recipe.max_target * base.joined)
        self.room = memory.room(base, recipe, mesh, longest=longest)
        self._optimiser, self._rates = make_optimiser(recipe), learning_rates(recipe)
        self._begin(base.params)
        self.program = make_train_step(
            partial(trainable.assembled, base.graph),
            self._optimiser,
            dtype=jnp.dtype(recipe.dtype),
            dropout_rate=recipe.dropout,
            recompute=recipe.recompute,
            places=(jax.tree.map(lambda x: x.sharding, self.state), sharding.everywhere(mesh)),
        )

    def _begin(self, params: Any) -> None:
        self.done = self.read = self.padded = 0
        trained, self.frozen = trainable.split(self.base.graph, params, self.recipe)
        # Moments lie where their parameters do; adapters and counts, which have no place yet, go to every device.
        trained, moments = jax.tree.map(
            lambda x: x if x.committed else sharding.put_global(x, sharding.everywhere(self.mesh)),
            (trained, self._optimiser.init(trained)),
        )
        self.state = State(trained, moments)

    def restart(self) -> None:
        """Returns to the base at step 0, and keeps the compiled step."""
        self._begin(self.frozen if self.recipe.lora else self.base.read(self.base.path, self.mesh))

    def params(self) -> Any:
        """Returns the model's current parameters, with adapters merged into them."""
        return trainable.params(self.base.graph, self.state.trained, self.frozen)

    def step(self, examples: Sequence[Row]) -> Sums:
        """Makes one step of the optimiser on these examples; returns their loss before the step."""
        malloc.give_back()
        cached = self.recipe.lora and jax.default_backend() == "cpu"
        room = min(self.room, _CACHED // jnp.dtype(self.recipe.dtype).itemsize) if cached else self.room
        form: Any = {"joined": self.base.joined, "share": self.recipe.share}
        batch = collate(examples, self.recipe.accumulate or fitting_parts(examples, room, **form), **form)
        self.read += real_tokens(batch, joined=self.base.joined)
        self.padded += batch.tokens.size + (0 if batch.common is None else batch.common.size)
        batch = sharding.put_global(batch, sharding.microbatches(self.mesh, batch.tokens.shape[1] // self.recipe.share))
        key = jax.random.fold_in(jax.random.key(self.recipe.seed), self.done)
        rate = jnp.asarray(self._rates(self.done), jnp.float32)
        self.state, sums = self.program(self.state, self.frozen, batch, key, rate)
        self.done += 1
        return Sums(*sums)

    def save(self, folder: Path) -> None:
        """Writes a checkpoint under a temporary name and renames it: a Hugging Face directory with the optimiser's
        state. Every process must call it."""
        part = part_of(folder)
        if processes.is_primary():
            shutil.rmtree(part, ignore_errors=True)
        self.base.save(self.params(), part)
        if self.recipe.lora:
            adapters = jax.tree.map(sharding.to_host, self.state.trained)
            if processes.is_primary():
                lora.save_peft(adapters, str(self.base.path.absolute()), part / "adapter", self.base.responses)
        processes.barrier("the model is written")
        checkpoints.save(self._beside_weights(), self.done, part)
        processes.barrier("all is written")
        if processes.is_primary():
            part.rename(folder)

    def restore(self, folder: Path) -> None:
        """Restores the state of a checkpoint, exactly if the number of devices is the same."""
        state, self.done = checkpoints.restore(self._beside_weights(), folder)
        if not self.recipe.lora:
            params = self.base.read(folder, self.mesh)
            trained, self.frozen = trainable.split(self.base.graph, params, self.recipe)
            state = State(trained, state)
        self.state = state

    def _beside_weights(self) -> Any:
        """Returns the part of the state that is not in the model's own files."""
        return self.state if self.recipe.lora else self.state.optimiser


def load(
    path: Path, recipe: Recipe, examples: ExampleOptions, devices: Devices, say: Callable[[str], None] = print
) -> Training:
    """Reads a base model onto the devices and prepares its training.

    Args:
      path: a checkpoint directory or a GGUF file.

    Raises:
      UserError: the model cannot be read or does not fit the recipe, the devices or the memory.
    """
    try:
        mesh = sharding.mesh(devices.model_parallel)
    except ValueError as error:
        raise UserError(str(error)) from error
    base = base_model.load(path, mesh, template=examples.template, responses=examples.responses)
    if recipe.dropout is None and base.joined:
        say(f"no dropout: most decoders were trained without and do not bear it (the paper: --dropout {DROPOUT})")
    if recipe.max_input >= base.longest:
        raise UserError(f"--max-input {recipe.max_input}: the model has only {base.longest} positions")
    return Training(base, recipe, mesh)
