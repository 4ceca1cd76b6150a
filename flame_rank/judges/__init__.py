"""Judges: who answers which of two candidates is the better one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flame_rank.errors import UserError

if TYPE_CHECKING:
    from flame_rank.judges.base import Judge


def default() -> "Judge":
    """The judge that ships inside the package."""
    from flame_rank.judges.pool import PoolJudge

    return PoolJudge.load(Path(__file__).parent / "default")


def load(spec: str | Path, **options: Any) -> "Judge":
    """The judge that `--judge` names.

    Args:
      spec: "default", a directory that `flame-train default` wrote, a Hugging Face directory (Llama, Mistral, Qwen 2
        and 3, Gemma 1 to 3, T5), FILE.gguf with the weights of one of these families but T5, quantised or not, or
        MODULE:FUNCTION for a function f(prompt, pairs) -> log-odds that can be imported from the current directory or
        the installed packages.
      options: for a Hugging Face directory or a GGUF file, None or left out for the default:
        criteria: text: what makes a response the better one, instead of the instructions that ship.
        max_length: tokens of a judgement; 2048, the paper's input length, or what the model reads at most.
        on_long: "cut" (default), "skip" or "fail": what becomes of a comparison that is longer. Cut responses keep
          their head and tail, and are counted.
        dtype: "float32" (default on a CPU) or "bfloat16" (elsewhere); quantised weights are computed with in it too.
        max_batch_tokens: tokens of a batch, padding included; by default what fits (flame_rank/model/memory.py).
        template: "chat" (default where the checkpoint has a chat template) or "plain".
        model_parallel: devices over which one copy of the weights is split; by default as few as hold them, and
          batches are split over the rest.
        attention: "cudnn" for NVIDIA's kernel (bfloat16 on a GPU), "xla" or "rows"; by default what suits the device.

    Raises:
      UserError: it names none, or its files cannot be read, or it takes no such option.
    """
    from flame_rank.model.gguf_file import is_gguf

    given = {name: value for name, value in options.items() if value is not None}
    folder = Path(spec)
    if is_gguf(folder):
        from flame_rank.judges import directory

        return directory.load(folder, **given)
    if folder.is_dir():
        if (folder / "config.json").exists() and not (folder / "judge.json").exists():
            from flame_rank.judges import directory

            return directory.load(folder, **given)
        if not (folder / "judge.json").exists():
            raise UserError(f"the judge in {folder}: neither config.json (Hugging Face) nor judge.json is there")
    if given:
        raise UserError(
            f"--judge {spec} takes no {', '.join(given)}: only a Hugging Face directory or a GGUF file does"
        )
    if spec == "default":
        return default()
    if folder.is_dir():
        from flame_rank.judges.pool import PoolJudge

        return PoolJudge.load(folder)
    module, _, function = str(spec).partition(":")
    if not module or not function:
        raise UserError(f"--judge {spec}: neither 'default', a directory of weights, a .gguf file, nor MODULE:FUNCTION")
    return _imported(module, function)


def _imported(module: str, function: str) -> "Judge":
    import sys
    from importlib import import_module

    from flame_rank.judges.function import FunctionJudge

    sys.path.insert(0, "")
    try:
        found = getattr(import_module(module), function)
    except Exception as error:  # what a module raises while it is imported can be anything
        said = str(error) if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
        raise UserError(f"--judge {module}:{function}: {said}") from error
    finally:
        sys.path.remove("")
    if not callable(found):
        raise UserError(f"--judge {module}:{function}: it is a {type(found).__name__}, not a function")
    return FunctionJudge(found, name=f"{module}:{function}")
