"""Isolates an untrusted process: in its own namespaces and root if the kernel permits, and with limits in any case.

Three levels are tried in this order. root: as an unused user, in namespaces that root made. user: as the same user, in
namespaces that a user may make. plain: without namespaces; Landlock and seccomp replace them as far as they can.
"""

import os
import resource
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeAlias

from flame_rank.sandbox import seccomp, system
from flame_rank.sandbox.program import limit

Level: TypeAlias = Literal["root", "user", "plain"]

INSIDE = 65534  # the number of the user in the namespaces
SCRATCH = "/tmp"  # in a root of its own
DISK = 64 << 20  # bytes that a program may write in all, and
_FILE = 16 << 20  # bytes of one file
_FOREIGN = 1_000_000_000  # users above this number exist on no machine
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MOUNT_POINTS = ("/mnt", "/media", "/srv", "/opt", "/var", "/home")
_DEVICES = ("null", "zero", "full", "random", "urandom")


def separate(level: Level) -> None:
    """Enters new namespaces; the next child process is the first one in them.

    Raises:
      OSError: the kernel does not permit it.
    """
    namespaces = system.NEW_NS | system.NEW_PID | system.NEW_NET | system.NEW_IPC | system.NEW_UTS
    if level == "root":
        system.unshare(namespaces)
    elif level == "user":
        user, group = os.geteuid(), os.getegid()
        system.unshare(namespaces | system.NEW_USER)
        proc = os.open("/proc", _FOLDER)
        system.map_user(INSIDE, user, group, proc)
        os.close(proc)


def build_root(level: Level, launcher: int, readable: Sequence[str]) -> int:
    """Gives the first process of new namespaces a read-only root with nothing but the files that Python needs.

    Returns:
      A file descriptor of the proc file system of the new process namespace; the proc file system is mounted nowhere
      else.

    Args:
      launcher: the number of the launching process, from which the number of an unused user is derived.
      readable: the folders that programs may read, besides the system's libraries.

    Raises:
      OSError: the kernel does not permit it.
    """
    system.mount("none", "/", flags=system.RECURSIVE | system.PRIVATE)
    shown = _shortest([*readable, "/usr", "/lib", "/lib64", "/nix/store", "/etc/ld.so.cache", "/etc/alternatives"])
    root = next(p for p in _MOUNT_POINTS if Path(p).is_dir() and not any(s.startswith(p) for s in shown))
    system.mount("tmpfs", root, "tmpfs", system.NO_SUID, "size=4m,mode=755")
    for path in [*shown, *(f"/dev/{name}" for name in _DEVICES)]:
        _show(path, root)
    for folder in (SCRATCH, "/proc"):
        Path(root + folder).mkdir()
    system.mount("proc", f"{root}/proc", "proc", system.NO_SUID | system.NO_DEV)
    system.enter_root(root)
    proc = os.open("/proc", _FOLDER)
    system.unmount("/proc")
    system.protect("/", system.READ_ONLY | system.NO_SUID, recursive=False)
    if level == "root":
        _become(_FOREIGN + launcher)
        system.set_dumpable(True)  # or proc's self would not be this user's
        system.unshare(system.NEW_USER | system.NEW_NS)
        system.set_dumpable(True)
        system.map_user(INSIDE, _FOREIGN + launcher, _FOREIGN + launcher, proc)
    renew_scratch()
    return proc


def renew_scratch() -> None:
    """Replaces the files that a program may have changed by an empty file system of limited size."""
    mounted = os.stat(SCRATCH)  # noqa: PTH116
    if mounted.st_dev != os.stat("/").st_dev:  # noqa: PTH116
        if not os.listdir(SCRATCH) and mounted.st_mode & 0o7777 == 0o700:  # noqa: PTH208
            return
        system.unmount(SCRATCH)
    options = f"size={DISK},nr_inodes=10000,mode=700"
    system.mount("tmpfs", SCRATCH, "tmpfs", system.NO_SUID | system.NO_DEV, options)


def confine(level: Level, scratch: str, user: int | None) -> list[str]:
    """Takes away every right that a program does not need; returns the restrictions that the kernel does not permit.

    Args:
      scratch: the folder that it may write to.
      user: the user to become; None keeps the current one.
    """
    missing: list[str] = []

    def attempt(what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except OSError as error:
            missing.append(f"{what} ({error.strerror})")

    os.chdir(scratch)
    os.environ.update(HOME=scratch, TMPDIR=scratch)
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, _FILE),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        *([(resource.RLIMIT_NPROC, 64)] if level != "plain" else []),
    ):
        limit(kind, value)
    if user is not None:
        _become(user)
    elif level == "plain" and os.geteuid() == 0:
        missing.append("a user of its own (only root can read this Python)")
    system.drop_privileges()
    attempt("Landlock, which keeps it from other files", lambda: system.write_only_in(scratch))
    attempt("seccomp, which filters its system calls", lambda: seccomp.install(plain=level == "plain"))
    return missing


def spare_user(launcher: int) -> int | None:
    """Returns the number of an unused user, for programs that root runs; None if this is not root, or if such a user
    cannot read the standard library."""
    if os.geteuid() != 0:
        return None
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            _become(_FOREIGN + launcher)
            next(Path(os.__file__).parent.iterdir())
            os._exit(0)
        os._exit(1)
    return _FOREIGN + launcher if os.waitpid(child, 0)[1] == 0 else None


def _become(number: int) -> None:
    """Changes to the user and the group with this number, without any other group."""
    os.setgroups([])
    os.setresgid(number, number, number)
    os.setresuid(number, number, number)
    system.die_with_parent(os.getppid())  # which a change of user undoes


def _show(path: str, root: str) -> None:
    """Makes a file, a folder or a link visible below a root, read-only."""
    target = Path(root + path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if Path(path).is_symlink() and len(Path(path).parts) == 2:  # /lib -> usr/lib
        target.symlink_to(Path(path).readlink())
        return
    if not Path(path).exists():
        return
    if Path(path).is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    system.mount(path, str(target), flags=system.BIND | system.RECURSIVE)
    system.protect(str(target), system.READ_ONLY | system.NO_SUID, recursive=True)


def _shortest(paths: Sequence[str]) -> list[str]:
    """Returns the paths that are not below another one."""
    kept: list[str] = []
    for path in sorted({os.path.abspath(path) for path in paths}):  # noqa: PTH100 (a link stays as it is named)
        if not any(path.startswith(f"{other}/") for other in kept):
            kept.append(path)
    return kept
