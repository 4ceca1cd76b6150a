"""What a step frees stays with the process, and is not taken from the system anew."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from trainer.finetune.malloc import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def touch():
    block = libc.malloc(1 << 28)
    ctypes.memset(block, 1, 1 << 28)
    libc.free(block)
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

import trainer.finetune.malloc
trainer.finetune.malloc.memory = lambda: 1  # so little that all that is free is given back
trainer.finetune.malloc.give_back()
print(int(open("/proc/self/statm").read().split()[1]) * 4096)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has other settings")
def test_what_is_freed_is_taken_again_without_page_faults_and_given_back_where_it_is_much() -> None:
    def run(how: str) -> list[int]:
        done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, check=True)
        return [int(line) for line in done.stdout.split()]

    faults, resident = run("keep")
    assert faults < 10 and resident < 1 << 27
    assert run("leave")[0] > 100  # 65,536 of 4 KiB, or 128 of 2 MiB
