"""What a training on a CPU frees stays with the process."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, sys
from whylike.adapters.training.heap import give_back, keep_freed

libc = ctypes.CDLL(None)
libc.prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: pages of one size, however the system is set
if sys.argv[1] != "untold":
    keep_freed()
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.memset.argtypes, libc.free.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t], [ctypes.c_void_p]
size = 64 << 20
for turn in range(11):
    if turn == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    piece = libc.malloc(size)
    libc.memset(piece, 1, size)
    libc.free(piece)
    if sys.argv[1] == "given back at times":
        give_back()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(way: str) -> int:
    """Pages that the kernel had to give for ten pieces of 64 MiB, taken and freed after a first one."""
    ran = subprocess.run([sys.executable, "-c", FAULTS, way], check=True, capture_output=True, text=True)
    return int(ran.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library has no mallopt")
def test_what_is_freed_is_taken_again_without_new_pages():
    assert faults("kept") < 100
    assert faults("untold") > 1000


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library has no malloc_trim")
def test_what_is_given_back_is_given_anew():
    assert faults("given back at times") > 1000
