"""News of what is made once and kept, such as a converted model: from the thread that makes it to whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Protocol, TypeVar

Item_co = TypeVar("Item_co", covariant=True)
Told = Callable[[str, int, int], None]
"""Takes what is made, how much of it is done, and how much there is."""

_listeners: list[Told] = []


class Counted(Sized, Iterable[Item_co], Protocol[Item_co]):
    """What can be gone through and has a length."""


@contextmanager
def listening(told: Told) -> Iterator[None]:
    """Have `told` called with all news of this process, on the threads that they come from."""
    _listeners.append(told)
    try:
        yield
    finally:
        _listeners.remove(told)


def tell(what: str, done: int, total: int) -> None:
    """Give news to whoever listens."""
    for told in tuple(_listeners):
        told(what, done, total)


def counted(what: str, items: Counted[Item_co]) -> Iterator[Item_co]:
    """The items one by one, with news of each."""
    total = len(items)
    for done, item in enumerate(items):
        tell(what, done, total)
        yield item
    tell(what, total, total)
