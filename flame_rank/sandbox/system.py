"""Linux system calls that Python lacks: namespaces, mounts, privileges, Landlock (man 2 of each)."""

import ctypes
import os

NEW_NS, NEW_UTS, NEW_IPC, NEW_USER, NEW_PID, NEW_NET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
READ_ONLY, NO_SUID, NO_DEV = 1, 2, 4  # of MS_* and of MOUNT_ATTR_* alike
BIND, RECURSIVE, PRIVATE = 0x1000, 0x4000, 0x40000
DETACH = 2

_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_SETATTR, _LANDLOCK = 442, (444, 445, 446)  # the same on every architecture
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SET_DEATH_SIGNAL, _SET_DUMPABLE, _DROP_BOUND, _NO_NEW_PRIVILEGES = 1, 4, 24, 38
_CAPABILITY_VERSION = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
for _name in ("capset", "mount", "prctl", "syscall", "unshare"):  # looked up once, not in every child
    getattr(_libc, _name)


def call(name: str, *arguments: object) -> int:
    """Calls a function of libc.

    Raises:
      OSError: the function returns -1.
    """
    result: int = getattr(_libc, name)(*arguments)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """Enters new namespaces of the kinds in `flags`."""
    call("unshare", ctypes.c_int(flags))


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str = "") -> None:
    """Mounts a file system."""
    encoded = kind.encode() if kind else None
    call("mount", source.encode(), target.encode(), encoded, ctypes.c_ulong(flags), options.encode())


def unmount(target: str) -> None:
    """Removes a mount from the tree; its open files stay open."""
    call("umount2", target.encode(), DETACH)


def protect(target: str, attributes: int, *, recursive: bool) -> None:
    """Sets attributes (READ_ONLY, NO_SUID, NO_DEV) of a mount and, if `recursive`, of all below it."""
    wanted = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    call("syscall", ctypes.c_long(_MOUNT_SETATTR), _AT_FDCWD, target.encode(), flags, wanted, ctypes.c_size_t(32))


def enter_root(folder: str) -> None:
    """Makes a mount the root of this process and removes the old root."""
    os.chdir(folder)
    call("syscall", ctypes.c_long(_PIVOT_ROOT[os.uname().machine]), b".", b".")
    unmount(".")
    os.chdir("/")


def map_user(inside: int, user: int, group: int, proc: int) -> None:
    """Maps the user and group of this process to the number `inside` in its new user namespace, and forbids further
    user namespaces in this one.

    Args:
      proc: the descriptor of a folder with the proc file system.
    """
    for name, text in (
        ("self/setgroups", "deny"),
        ("self/uid_map", f"{inside} {user} 1"),
        ("self/gid_map", f"{inside} {group} 1"),
        ("sys/user/max_user_namespaces", "0"),
    ):
        opened = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
        os.write(opened, text.encode())
        os.close(opened)


def die_with_parent(parent: int) -> None:
    """Asks the kernel to kill this process as soon as its parent ends."""
    call("prctl", _SET_DEATH_SIGNAL, 9, 0, 0, 0)
    if os.getppid() not in (parent, 0):  # 0: the parent is outside of this process's namespace
        os._exit(1)


def set_dumpable(value: bool) -> None:
    """Sets whether another process of the same user may inspect this one."""
    call("prctl", _SET_DUMPABLE, int(value), 0, 0, 0)


def bound_privileges() -> None:
    """Prevents programs that this process or its children execute from gaining capabilities."""
    for capability in range(64):
        _libc.prctl(_DROP_BOUND, capability, 0, 0, 0)


def drop_privileges() -> None:
    """Gives up every capability for good."""
    call("capset", (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)())
    call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def write_only_in(folder: str) -> None:
    """Restricts this process and its children by Landlock: they can change files only in `folder`, open no TCP
    connection, and signal only each other (the last two if the kernel supports them)."""
    create, add, restrict = (ctypes.c_long(number) for number in _LANDLOCK)
    abi = call("syscall", create, None, ctypes.c_size_t(0), 1)
    changes = sum(1 << bit for bit in (1, *range(4, 13), *([13] if abi > 1 else []), *([14] if abi > 2 else [])))
    handled = (ctypes.c_uint64 * 3)(changes, 3 if abi > 3 else 0, 3 if abi > 5 else 0)
    size = 24 if abi > 5 else 16 if abi > 3 else 8
    rules = call("syscall", create, handled, ctypes.c_size_t(size), 0)
    for path, allowed in ((folder, changes), ("/dev/null", 2)):
        opened = os.open(path, os.O_PATH)
        call("syscall", add, rules, 1, _beneath(allowed, opened), 0)
        os.close(opened)
    call("syscall", restrict, rules, 0)
    os.close(rules)


def _beneath(allowed: int, opened: int) -> ctypes.Array[ctypes.c_char]:
    """Returns a `struct landlock_path_beneath_attr`, which is packed."""
    return ctypes.create_string_buffer(allowed.to_bytes(8, "little") + opened.to_bytes(4, "little"))
