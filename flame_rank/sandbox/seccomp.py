"""Filters system calls (man 2 seccomp): calls that a program never needs for computing fail with EPERM."""

import ctypes
import errno
import os
import struct
from functools import lru_cache

from flame_rank.sandbox.system import call

# Numbers on x86_64 and aarch64; None: the architecture has no such call.
_DENIED: dict[str, tuple[int | None, int | None]] = {
    # Looking into other processes, or reaching them.
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "process_madvise": (440, 440),
    # Memory that no limit of a process counts.
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "msgget": (68, 186),
    "semget": (64, 190), "mq_open": (240, 180),
    # Large and old doors of the kernel.
    "userfaultfd": (323, 282), "bpf": (321, 280), "perf_event_open": (298, 241), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218), "io_uring_setup": (425, 425), "mount": (165, 40),
    "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97), "setns": (308, 268),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "kexec_load": (246, 104), "reboot": (169, 142), "swapon": (167, 224),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "acct": (163, 89),
    "quotactl": (179, 60),
}  # fmt: skip
# Without namespaces: no process beside the first, no network, no change of files that Landlock does not see.
_DENIED_PLAIN: dict[str, tuple[int | None, int | None]] = {
    "fork": (57, None), "vfork": (58, None), "socket": (41, 198), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "setpriority": (141, 140), "sched_setaffinity": (203, 122), "chmod": (90, None),
    "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None), "fchown": (93, 55),
    "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None), "utimensat": (280, 88),
    "futimesat": (261, None), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
}  # fmt: skip
_CLONE, _CLONE3, _PRCTL, _SOCKET = (56, 220), (435, 435), (157, 167), (41, 198)
_FAMILIES = (16, 38, 40, 44)  # netlink, alg, vsock, xdp: what a network namespace does not confine, or no program needs
_OWN_PID = ((62, 129), (234, 131), (302, 261))  # kill, tgkill, prlimit64
_ARCHITECTURE = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

_NEW_NAMESPACES, _THREAD = 0x7E020080, 0x10000  # of clone's flags
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENT = 0, 4, 16  # where `struct seccomp_data` has them
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_REFUSE = (_RETURN, 0, 0, _ERROR | errno.EPERM)
_SET_SECCOMP, _FILTER = 22, 2


def install(*, plain: bool) -> None:
    """Filters the calls of this process and its children; the process must have `no_new_privs` set.

    Args:
      plain: whether the process lacks its own namespaces, so that the filter must refuse more.

    Raises:
      OSError: the kernel cannot filter, or the numbers of this architecture's calls are not known here.
    """
    machine = os.uname().machine
    if machine not in _ARCHITECTURE:
        raise OSError(errno.ENOSYS, f"seccomp: no table of calls for {machine}")
    code = _code(machine, os.getpid() if plain else None)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    call("prctl", _SET_SECCOMP, _FILTER, ctypes.c_char_p(program), 0, 0)


def prepare() -> None:
    """Builds the filter for processes with namespaces in advance, so that their parent does this only once."""
    if os.uname().machine in _ARCHITECTURE:
        _code(os.uname().machine, None)


@lru_cache(maxsize=1)
def _code(machine: str, plain: int | None) -> bytes:
    """Returns the filter in the kernel's form; for a process with this number and without namespaces, unless it is
    None."""
    return b"".join(struct.pack("HBBI", *line) for line in _lines(*_ARCHITECTURE[machine], plain))


def _lines(column: int, architecture: int, plain: int | None) -> list[tuple[int, int, int, int]]:
    """Returns the filter: (operation, lines to skip if true, if false, operand)."""
    denied = [*_DENIED.values(), *(_DENIED_PLAIN.values() if plain is not None else [])]
    lines = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, 0x40000000),  # x32's numbers
        _REFUSE,
    ]
    for number in (numbers[column] for numbers in denied):
        if number is not None:
            lines += [(_EQUAL, 0, 1, number), _REFUSE]
    # glibc takes clone, whose flags can be looked at, when there is no clone3.
    lines += [(_EQUAL, 0, 1, _CLONE3[column]), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)]
    lines += _argument(_CLONE[column], [(_ANY_BIT, 0, 1, _NEW_NAMESPACES), _REFUSE])
    lines += _argument(_PRCTL[column], [(_EQUAL, 0, 1, 1), _REFUSE])  # its death with its parent stays
    families = [line for family in _FAMILIES for line in ((_EQUAL, 0, 1, family), _REFUSE)]
    lines += _argument(_SOCKET[column], families)
    if plain is not None:
        lines += _argument(_CLONE[column], [(_ANY_BIT, 1, 0, _THREAD), _REFUSE])
        for numbers in _OWN_PID:
            own = [(_EQUAL, 2, 0, 0), (_EQUAL, 1, 0, plain), _REFUSE]
            lines += _argument(numbers[column], own)
    return [*lines, (_RETURN, 0, 0, _ALLOW)]


def _argument(number: int, look: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Makes the instructions that check the first argument of a system call, and then load the call's number again."""
    look = [(_LOAD, 0, 0, _ARGUMENT), *look, (_LOAD, 0, 0, _NUMBER)]
    return [(_EQUAL, 0, len(look), number), *look]
