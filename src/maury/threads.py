"""One thread for work that is too small to share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import lru_cache

import torch
from threadpoolctl import ThreadpoolController


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch and linear algebra on one thread; as a decorator, for a whole function.

    The matrices of one spectrum are too small to profit from a second thread; on busy cores, threads that wait for each
    other are many times slower. With one thread, results do not depend on the number of cores.
    """
    before = torch.get_num_threads()
    with _libraries().limit(limits=1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@lru_cache(maxsize=1)
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()
