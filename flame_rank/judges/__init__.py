"""Judges: who answers which of two candidates is the better one."""

from pathlib import Path
from typing import TYPE_CHECKING

from flame_rank.errors import UserError

if TYPE_CHECKING:
    from flame_rank.judges.base import Judge


def default() -> "Judge":
    """The judge that ships inside the package."""
    from flame_rank.judges.pool import PoolJudge

    return PoolJudge.load(Path(__file__).parent / "default")


def load(spec: str) -> "Judge":
    """The judge that `--judge` names.

    Args:
      spec: "default", a directory that `flame-train default` wrote, or MODULE:FUNCTION for a function
        f(prompt, pairs) -> log-odds that can be imported from the current directory or the installed packages.

    Raises:
      UserError: it names none, or its files cannot be read.
    """
    if spec == "default":
        return default()
    if Path(spec).is_dir():
        from flame_rank.judges.pool import PoolJudge

        return PoolJudge.load(Path(spec))
    module, _, function = spec.partition(":")
    if not module or not function:
        raise UserError(f"--judge {spec}: neither 'default', a directory of weights, nor MODULE:FUNCTION")
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
