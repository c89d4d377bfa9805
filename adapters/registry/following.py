"""An engine that follows the promotions: those of this process and of every other at the same store."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from whylike.adapters.engines.base import Engine
from whylike.adapters.registry.registry import Registry
from whylike.errors import WhylikeError
from whylike.records import Expert

log = logging.getLogger(__name__)

_inside: ContextVar[bool] = ContextVar("whylike_inside_a_query", default=False)


class Following:
    """Lets an engine adopt what was promoted, between queries, so that no answer is made by two versions of an expert.

    A query that finds a promotion waits for those under way in this process, which end with what they began with.
    """

    def __init__(self, registry: Registry, engine: Engine, versions: dict[Expert, str]) -> None:
        """`versions`: those that `engine` has already."""
        self._registry = registry
        self._engine = engine
        self._seen = versions
        self._changed = threading.Condition()
        self._running = 0

    @contextmanager
    def query(self) -> Generator[None]:
        """Within it the engine keeps its versions; those at the beginning are the promoted ones, if they load.

        A query inside another one, also on a thread that has its context, belongs to that one.
        """
        if _inside.get():
            yield
            return
        with self._changed:
            while (now := self._registry.live_versions()) != self._seen:
                if self._running:
                    self._changed.wait()
                else:
                    self._adopt(now)
            self._running += 1
        mark = _inside.set(True)
        try:
            yield
        finally:
            _inside.reset(mark)
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _adopt(self, now: dict[Expert, str]) -> None:
        """Have the engine take on these versions; where it cannot, it goes on with those that it has."""
        self._seen = now
        try:
            self._engine.adopt(self._registry.adapters(now))
        except WhylikeError as error:
            log.warning("what was promoted does not answer yet, the versions before it go on: %s", error)
