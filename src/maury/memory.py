"""Memory that is used again and again is kept, not handed back to the system."""

from __future__ import annotations

import ctypes
import sys

_LARGEST = 32 << 20
"""Bytes up to which blocks come from what is kept; glibc takes no more."""


def keep_freed_memory() -> None:
    """Let the C library keep what tensors free, instead of handing it back and faulting it in again at every step.

    For whole processes, not for a library's functions. With glibc a training step in float32 is 10 to 15 % faster on a
    CPU; the refinement of a star spares 10,000 to 20,000 page faults. Other C libraries are left as they are.
    """
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        trim_threshold, mmap_threshold = -1, -3
        ctypes.CDLL(None).mallopt(mmap_threshold, _LARGEST)
        ctypes.CDLL(None).mallopt(trim_threshold, 2**31 - 1)
