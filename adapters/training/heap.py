"""Memory of a training on a CPU: kept for the next batches, and given back to the system only now and then."""

import ctypes

_ARENA_MAX, _MMAP_MAX, _TRIM_THRESHOLD = -8, -4, -1
"""Parameters of glibc's mallopt (malloc.h)."""


def keep_freed() -> None:
    """Have the C library keep what is freed, in one arena, from now on; `give_back` returns what is then free.

    A step frees and takes gigabytes in pieces of tens of megabytes, which glibc maps anew each time, and the kernel
    then has to clear every page: half of a training's time. Where the C library has no `mallopt` (musl, macOS), nothing
    is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1)):
        mallopt(parameter, value)


def give_back() -> None:
    """Give the pages back that nothing stands on, of the holes too that batches of other lengths left."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
