"""Several things at once, in order."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from whylike.graph.nodes import AT_ONCE

T = TypeVar("T")
R = TypeVar("R")


def at_once(do: Callable[[T], R], items: Sequence[T], workers: int = AT_ONCE) -> Generator[R]:
    """What `do` gives for each item, in order; so many are worked on at once, so that the engine has batches.

    Within a query of the caller's they belong to it (`Following.query`).
    """
    with ThreadPoolExecutor(workers) as pool:
        try:
            yield from pool.map(lambda each: each[0].run(do, each[1]), [(copy_context(), item) for item in items])
        finally:
            pool.shutdown(cancel_futures=True)
