"""Makes a judge from a checkpoint: a Hugging Face directory or a GGUF file of a family that flame_rank/model computes,
or a low-rank adapter for such a model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast, get_args

from flame_rank.errors import UserError
from flame_rank.judges.choice import ChoiceJudge
from flame_rank.judges.choice_prompts import choosing
from flame_rank.judges.language_model import LanguageModelJudge
from flame_rank.judges.likelihood import NOTHING, REFUSAL, Reader
from flame_rank.judges.options import OnLong
from flame_rank.judges.separate import SeparateJudge
from flame_rank.judges.think_options import ThinkOptions
from flame_rank.judges.thinking import ThinkingJudge
from flame_rank.model import forks, text
from flame_rank.model.adapter_config import AdapterConfig, is_adapter
from flame_rank.model.checkpoint_files import base_of, identity
from flame_rank.model.choices import Attend, Dtype, Responses, Template
from flame_rank.model.config import RESPONSES
from flame_rank.model.families import Architecture, read_architecture
from flame_rank.model.kernel import Kernel
from flame_rank.model.scorer import MAX_LENGTH, ComputeOptions, Scorer, load_scorer
from flame_rank.prompts.conversation import FORM
from flame_rank.prompts.format import Format, load_format
from flame_rank.prompts.instructions import PAIRWISE, with_criteria


def load(
    checkpoint: Path,
    *,
    criteria: str | None = None,
    on_long: OnLong = "cut",
    template: Template | None = None,
    max_length: int | None = None,
    dtype: Dtype | None = None,
    max_batch_tokens: int | None = None,
    model_parallel: int | None = None,
    attention: Attend | None = None,
) -> LanguageModelJudge:
    """Reads a checkpoint directory, a GGUF file or an adapter's folder; arguments as in `flame_rank.load_judge`.

    Raises:
      UserError: a file is missing, incomplete or does not fit the others, or needs a computation that is not supported.
    """
    options = ComputeOptions(
        max_length=max_length,
        dtype=dtype,
        max_batch_tokens=max_batch_tokens,
        model_parallel=model_parallel,
        attention=attention,
    )
    (judge,) = load_each(checkpoint, [criteria], on_long=on_long, template=template, options=options)
    return judge


def load_each(
    checkpoint: Path,
    criteria: Sequence[str | None],
    *,
    on_long: OnLong = "cut",
    template: Template | None = None,
    options: ComputeOptions,
) -> list[LanguageModelJudge]:
    """Reads a checkpoint once and makes a judge for each of several criteria.

    Raises:
      UserError: as in `load`.
    """
    with _named_in_errors(f"the judge in {checkpoint}"):
        kernel, form, architecture = _open(checkpoint, template, options)
        make: Any = SeparateJudge if _responses(checkpoint, architecture) == "separate" else LanguageModelJudge
        judges: list[LanguageModelJudge] = []
        for criterion in criteria:
            instructions = with_criteria(criterion) if criterion else PAIRWISE
            stated = [
                asdict(instructions),
                (*(form.chat or ()), form.lead) if form.lead else form.chat,
                kernel.max_length,
                on_long,
                kernel.dtype,
            ]
            name = f"{architecture.family}:{identity(checkpoint, stated)}"
            judges.append(make(kernel, form, name=name, instructions=instructions, on_long=on_long))
        return judges


def _responses(checkpoint: Path, architecture: Architecture) -> Responses:
    """Returns the form in which a checkpoint was trained to read the responses of a comparison.

    Raises:
      OSError: its configuration is unreadable.
      ValueError: its configuration is damaged, or names a form that is not known here.
    """
    if is_adapter(checkpoint):
        return AdapterConfig.read(checkpoint).flame_rank_responses
    stated = architecture.stated.get(RESPONSES, "joint")
    if stated not in get_args(Responses):
        raise ValueError(f"config.json: {RESPONSES} = {stated!r}; it must be one of {', '.join(get_args(Responses))}")
    return cast(Responses, stated)


def _check_joint(checkpoint: Path, architecture: Architecture, option: str) -> None:
    """Raises ValueError if a checkpoint was trained in the separate form and would be asked in another form."""
    if _responses(checkpoint, architecture) != "joint":
        raise ValueError(f"it reads responses separately and gives verdicts only; leave {option} out")


def load_thinking(
    checkpoint: Path,
    criteria: Sequence[str | None],
    drawn: ThinkOptions,
    *,
    on_long: OnLong = "cut",
    template: Template | None = None,
    options: ComputeOptions,
) -> list[ThinkingJudge]:
    """Reads a checkpoint once, and makes one thinking judge for each of several criteria.

    Raises:
      UserError: as in `load`; or the model is not a decoder, or has no positions left for the tokens that it should
        write.
    """
    with _named_in_errors(f"the judge in {checkpoint}"):
        positions = read_architecture(checkpoint).positions
        if positions is not None:
            room = positions - drawn.limit
            if room < (options.max_length or 1):
                raise ValueError(
                    f"think={drawn.think} takes {drawn.limit} of the model's {positions} positions, and max_length "
                    f"{options.max_length or ''} does not fit beside them; lower one of the two"
                )
            options = replace(options, max_length=options.max_length or min(MAX_LENGTH, room))
        kernel, form, architecture = _open(checkpoint, template, options, thinking=True)
        _check_joint(checkpoint, architecture, f"think={drawn.think}")
        if not isinstance(kernel, Kernel):
            raise ValueError(
                f"think={drawn.think} is for a decoder, but this is a model of the family {architecture.family}"
            )
        judges = []
        for criterion in criteria:
            instructions = with_criteria(criterion) if criterion else PAIRWISE
            stated = [asdict(instructions), form.chat, kernel.max_length, on_long, kernel.dtype, asdict(drawn)]
            name = f"{architecture.family} (thinks for {drawn.think} tokens at most):{identity(checkpoint, stated)}"
            judges.append(
                ThinkingJudge(kernel, form, name=name, instructions=instructions, on_long=on_long, options=drawn)
            )
        return judges


def load_choice(
    checkpoint: Path,
    *,
    criteria: str | None = None,
    on_long: OnLong = "cut",
    template: Template | None = None,
    **options: Any,
) -> ChoiceJudge:
    """Reads a checkpoint as a judge that is shown all candidates at once.

    Args:
      options: those of `ComputeOptions`.

    Raises:
      UserError: as in `load`.
    """
    with _named_in_errors(f"the judge in {checkpoint}"):
        kernel, form, architecture = _open(checkpoint, template, ComputeOptions(**options))
        _check_joint(checkpoint, architecture, "--ask choice")
        instructions = choosing(criteria)
        stated = [asdict(instructions), form.chat, form.lead, kernel.max_length, on_long, kernel.dtype]
        name = f"{architecture.family}:{identity(checkpoint, stated)}"
        return ChoiceJudge(kernel, form, name=name, instructions=instructions, on_long=on_long)


def load_reader(checkpoint: Path, *, template: Template | None = None, **options: Any) -> Reader:
    """Reads a checkpoint as a model that computes how likely candidates are.

    Args:
      template: as in `flame_rank.load_judge`.
      options: those of `ComputeOptions`.

    Raises:
      UserError: as in `load`.
    """
    with _named_in_errors(f"the model in {checkpoint}"):
        kernel, form, architecture = _open(checkpoint, template, ComputeOptions(**options))
        stated: list[object] = [NOTHING, REFUSAL, FORM if form.template else None, form.chat]
        stated += [kernel.max_length, kernel.dtype]
        stated += [form.end] if len(form.eos) > 1 else []
        return Reader(kernel, form, name=f"{architecture.family}:{identity(checkpoint, stated)}")


def _open(
    checkpoint: Path, template: Template | None, options: ComputeOptions, *, thinking: bool = False
) -> tuple[Scorer, Format, Architecture]:
    """Returns a checkpoint's model, the unified format in its tokens, and how the model is computed."""
    forks.compute_here()
    model = base_of(checkpoint) if is_adapter(checkpoint) else checkpoint
    words = checkpoint if text.is_here(checkpoint) else model
    architecture = read_architecture(checkpoint)
    form = load_format(words, architecture, template=template, model=model, thinking=thinking)
    return load_scorer(checkpoint, options, architecture), form, architecture


@contextmanager
def _named_in_errors(what: str) -> Iterator[None]:
    """Turns the exceptions of the file readers into UserErrors."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise UserError(f"{what} cannot be read: {error}") from error
