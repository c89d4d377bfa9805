"""An event loop on a thread of its own, for engines that speak to a server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from whylike.errors import EngineError

CLOSED = "the engine is closed; open a new one"

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]


class Background:
    """Runs what it is given on its thread, which starts with the first of it. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self, work: Work[T]) -> Future[T]:
        """Begin `work`; cancelling the future ends it. Raises `EngineError` once this is closed."""
        with self._lock:
            if self._closed:
                raise EngineError(CLOSED)
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="whylike-engine", daemon=True)
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(work(), self._loop)

    def together(self, works: Sequence[Work[T]]) -> list[T]:
        """The results of all, in order; the first error ends the others and is raised."""

        async def run() -> list[T]:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work()) for work in works]
            return [task.result() for task in tasks]

        future = self.start(run)
        try:
            return result(future)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            future.cancel()

    def close(self, last: Callable[[], Awaitable[None]]) -> None:
        """Cancel what runs, do `last` and end the thread; a second call does nothing."""
        with self._lock:
            self._closed = True
            loop, self._loop = self._loop, None
        if loop is None or self._thread is None:
            return

        async def end() -> None:
            running = asyncio.all_tasks() - {asyncio.current_task()}
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await last()

        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join()
        loop.close()


def result(future: Future[T]) -> T:
    """What came of `future`. Raises `EngineError` where the engine was closed before."""
    try:
        return future.result()
    except CancelledError:
        raise EngineError("the engine was closed before it had answered") from None
