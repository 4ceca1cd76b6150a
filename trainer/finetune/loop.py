"""Trains a judge: any family of the kernel, on the rows of a mixture; resumed exactly where it was killed."""

import json
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import numpy.typing as npt
from jax.sharding import Mesh

from flame_rank.errors import UserError
from flame_rank.io import json_file
from flame_rank.io.json_file import one_line
from flame_rank.io.writing import bring_back, put
from flame_rank.model import sharding
from trainer.finetune import checkpoints, lora, malloc, memory, metrics, processes, trainable
from trainer.finetune.base_model import Base
from trainer.finetune.recipe import Recipe, optimiser
from trainer.finetune.sampler import dealt, drawn
from trainer.finetune.step import Batch, State, Sums, make_train_step
from trainer.finetune.tokenized_rows import TokenizedRows

Ids: TypeAlias = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]  # of an input and of its target

STEP = "step-{:07d}"
RECIPE = "recipe.json"


def padded(tokens: int) -> int:
    """The padded length for a row in training: few programs, each of which takes long to compile."""
    step = 32 if tokens <= 128 else 64 if tokens <= 512 else 128 if tokens <= 1024 else 256
    return -(-tokens // step) * step


def width(examples: Sequence[Ids], *, joined: bool) -> int:
    """The padded length of the longest of these examples, in tokens; arguments as in `collate`."""
    return padded(max(len(i) + (len(t) if joined else 0) for i, t in examples))


def collate(examples: Sequence[Ids], parts: int, *, joined: bool) -> Batch:
    """Examples as a batch of `parts` microbatches: arrays with the axes [parts, rows, ...].

    Args:
      examples: ids of inputs and of targets.
      joined: a decoder reads both in one row; T5 reads the input.
    """
    B = len(examples)
    most = max(len(t) for _, t in examples)
    R = next(R for R in (4**k for k in count(2)) if most <= R)  # few programs; a place costs little
    tokens, targets = np.zeros((B, width(examples, joined=joined)), np.int32), np.zeros((B, R), np.int32)
    for k, (of_input, target) in enumerate(examples):
        tokens[k, : len(of_input)] = of_input
        targets[k, : len(target)] = target
        if joined:
            tokens[k, len(of_input) : len(of_input) + len(target)] = target
    lengths, counts = (np.array([len(e[side]) for e in examples], np.int32) for side in (0, 1))
    fields: tuple[Any, ...] = (tokens, lengths, targets, counts, np.arange(B, dtype=np.int32))
    return Batch(*(x.reshape(parts, B // parts, *x.shape[1:]) for x in fields))  # still on the host


@dataclass(frozen=True, kw_only=True)
class CheckpointPolicy:
    """What is kept on the way.

    Attributes:
      every: steps between two checkpoints.
      last: so many of the newest checkpoints stay, and the best one.
      log: steps between two lines of metrics.
      best: the checkpoint with the highest mean accuracy stays, too.
    """

    every: int = 1000
    last: int = 2
    log: int = 20
    best: bool = True


class Training:
    """A training at some step.

    Attributes:
      done: steps so far.
      read: tokens that this process has read in them, padding included.
    """

    def __init__(self, base: Base, recipe: Recipe, mesh: Mesh):
        """Raises:
        UserError: the recipe does not fit the model, or the model the memory.
        """
        if recipe.freeze and (not base.joined or recipe.freeze >= base.layers):
            raise UserError(f"--freeze {recipe.freeze}: it is for decoders, and this model has {base.layers} layers")
        self.base, self.recipe, self.mesh = base, recipe, mesh
        self.room = memory.room(base, recipe, mesh, longest=padded(recipe.max_input + recipe.max_target * base.joined))
        self.read = 0
        self._optimiser = optimiser(recipe)
        self._begin(base.params)
        self.program = make_train_step(
            partial(trainable.assembled, base.graph),
            self._optimiser,
            dtype=jnp.dtype(recipe.dtype),
            rate=recipe.dropout,
            recompute=recipe.recompute,
            places=(jax.tree.map(lambda x: x.sharding, self.state), sharding.everywhere(mesh)),
        )

    def _begin(self, params: Any) -> None:
        self.done = 0
        found, self.frozen = trainable.split(self.base.graph, params, self.recipe)
        # Moments lie where their parameters do; adapters and counts, which have no place yet, everywhere.
        found, moments = jax.tree.map(
            lambda x: x if x.committed else sharding.put_global(x, sharding.everywhere(self.mesh)),
            (found, self._optimiser.init(found)),
        )
        self.state = State(found, moments)

    def restart(self) -> None:
        """Goes back to the base at step 0; the compiled step stays."""
        self._begin(self.frozen if self.recipe.lora else self.base.read(self.base.path, self.mesh))

    def params(self) -> Any:
        """The model's parameters as they are now, adapters merged."""
        return trainable.params(self.base.graph, self.state.trained, self.frozen)

    def step(self, examples: Sequence[Ids]) -> Sums:
        """One step of the optimiser on these examples."""
        malloc.give_back()
        batch = collate(examples, self._parts(examples), joined=self.base.joined)
        self.read += batch.tokens.size
        batch = sharding.put_global(batch, sharding.microbatches(self.mesh, batch.tokens.shape[1]))
        key = jax.random.fold_in(jax.random.key(self.recipe.seed), self.done)
        self.state, found = self.program(self.state, self.frozen, batch, key)
        self.done += 1
        return Sums(*found)

    def _parts(self, examples: Sequence[Ids]) -> int:
        """In how many parts a batch is computed: as the recipe says, or as few as there is room for."""
        tokens, B = width(examples, joined=self.base.joined), len(examples)
        fit = (n for n in range(1, B) if B % n == 0 and B // n * tokens <= self.room)
        return self.recipe.accumulate or next(fit, B)

    def save(self, folder: Path) -> None:
        """Writes a checkpoint beside and renames it: a Hugging Face directory, with the optimiser's state in it."""
        part = folder.with_name(folder.name + ".part")
        if processes.is_primary():
            shutil.rmtree(part, ignore_errors=True)
        self.base.save(self.params(), part)
        if self.recipe.lora:
            adapters = jax.tree.map(sharding.to_host, self.state.trained)
            if processes.is_primary():
                lora.save_peft(adapters, str(self.base.path.absolute()), part / "adapter")
        processes.barrier("the model is written")
        checkpoints.save(self._beside(), self.done, part)
        processes.barrier("all is written")
        if processes.is_primary():
            part.rename(folder)

    def restore(self, folder: Path) -> None:
        """Takes a checkpoint up again, to the last bit on as many devices."""
        found, self.done = checkpoints.restore(self._beside(), folder)
        if not self.recipe.lora:
            kept, self.frozen = trainable.split(self.base.graph, self.base.read(folder, self.mesh), self.recipe)
            found = State(kept, found)
        self.state = found

    def _beside(self) -> Any:
        """What of the state the model's own files do not hold."""
        return self.state if self.recipe.lora else self.state.optimiser


def train(
    training: Training,
    rows: Sequence[TokenizedRows],
    weights: Mapping[str, float],
    out: Path,
    kept: CheckpointPolicy,
    *,
    evaluate: Callable[[Training], dict[str, float]] | None = None,
    evaluate_every: int = 0,
    say: Callable[[str], None] = print,
) -> None:
    """Runs to the recipe's last step, from the newest checkpoint in `out` where there is one.

    Args:
      rows: of each task.
      weights: of each task, by name.
      out: the folder of the run, the same for all processes: checkpoints step-N, metrics.jsonl, tensorboard,
        recipe.json.
      evaluate: gives accuracies; the checkpoint with the highest mean stays as `best`.
    """
    recipe = training.recipe
    _same_recipe(out, recipe)
    if saved := _saved(out):
        try:
            training.restore(saved[-1])
        except (OSError, ValueError, KeyError) as error:
            said = f"cannot be taken up ({one_line(error)})"
            raise UserError(f"{saved[-1]}: {said}; delete it, and the run goes on before it") from error
        say(f"taken up at step {training.done}")
    shares = np.array([weights[one.task] for one in rows], np.float64)
    sizes = np.array([len(one) for one in rows], np.int64)
    lengths = [one.lengths for one in rows] if recipe.by_length else []
    began, first, tokens = time.monotonic(), training.done, 0
    losses: list[float] = []
    rights: dict[str, list[bool]] = defaultdict(list)
    best = _best(out)
    with metrics.writing(out, training.done) as write:
        while training.done < recipe.steps:
            here: dict[str, int] = {"seed": recipe.seed, "step": training.done, "batch": recipe.batch}
            tasks, places = dealt(shares, lengths, **here) if recipe.by_length else drawn(shares, sizes, **here)
            examples = [rows[t][p] for t, p in zip(tasks.tolist(), places.tolist(), strict=True)]
            found = training.step([(i, t) for i, t, _ in examples])
            losses.append(float(found.loss))
            for task, right in zip(tasks.tolist(), np.asarray(found.right).tolist(), strict=True):
                rights[rows[task].kind].append(right)
            tokens += sum(len(i) + len(t) for i, t, _ in examples)
            done, last = training.done, training.done == recipe.steps
            if done % kept.log == 0 or last:
                seconds = time.monotonic() - began
                line: dict[str, Any] = {"step": done, "loss": float(np.mean(losses))}
                line |= {f"right/{kind}": float(np.mean(found_)) for kind, found_ in sorted(rights.items())}
                line |= {
                    "tokens_per_second": tokens / seconds,
                    "seconds": seconds,
                    "padding": 1 - tokens / training.read,
                }
                write(line)
                left = seconds / (done - first) * (recipe.steps - done)
                kinds = "  ".join(f"{kind} {np.mean(found_):.2f}" for kind, found_ in sorted(rights.items()))
                say(
                    f"step {done}/{recipe.steps}  loss {line['loss']:.3f}  right: {kinds}  "
                    f"{line['tokens_per_second']:.0f} tokens/s  {line['padding']:.0%} padding  {left / 60:.0f} min left"
                )
                losses, rights = [], defaultdict(list)
            if evaluate and evaluate_every and (done % evaluate_every == 0 or last):
                accuracies = evaluate(training)
                mean = float(np.mean(list(accuracies.values())))
                write({"step": done, "eval": accuracies, "mean": mean})
                say(f"step {done}  eval {mean:.3f}: " + ", ".join(f"{k} {v:.3f}" for k, v in accuracies.items()))
                if kept.best and mean > best:
                    best = mean
                    _keep_best(training, out, mean)
            if done % kept.every == 0 or last:
                training.save(out / STEP.format(done))
                if processes.is_primary():
                    for old in _saved(out)[: -kept.last]:
                        shutil.rmtree(old)


def _saved(out: Path) -> list[Path]:
    return sorted(out.glob("step-*[0-9]"))


def _same_recipe(out: Path, recipe: Recipe) -> None:
    """Keeps the recipe beside what it makes: a run is taken up with its own only, and perhaps more steps."""
    out.mkdir(parents=True, exist_ok=True)
    stated = asdict(recipe)
    path = out / RECIPE
    if path.exists():
        before = json_file.read(path, dict[str, Any], remedy="delete it, or give another --out")
        if differ := sorted(name for name in stated if before.get(name) != stated[name] and name != "steps"):
            raise UserError(
                f"{path}: {out} was begun with another {', '.join(differ)}; give another --out, or its own arguments"
            )
    processes.barrier("the recipe is read")
    if processes.is_primary():
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(stated, indent=1) + "\n")
        part.replace(path)


class _Best(msgspec.Struct):
    """What eval.json says of the best checkpoint."""

    step: int
    mean: float


def _best(out: Path) -> float:
    if processes.is_primary():
        bring_back(out / "best")
    processes.barrier("the best one is in its place")
    path = out / "best" / "eval.json"
    if not path.exists():
        return -1.0
    remedy = f"delete {path.parent}: the best one is found anew"
    best: _Best = json_file.read(path, _Best, remedy=remedy)
    return best.mean


def _keep_best(training: Training, out: Path, mean: float) -> None:
    part, folder = out / "best.part", out / "best"
    if processes.is_primary():
        shutil.rmtree(part, ignore_errors=True)
    training.base.save(training.params(), part)
    if processes.is_primary():
        (part / "eval.json").write_text(json.dumps({"step": training.done, "mean": mean}) + "\n")
        put(part, folder)
