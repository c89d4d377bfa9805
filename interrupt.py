"""Ctrl-C: said at once, and the end within a second, whatever is under way.

Python's own handler waits until the main thread is back from a model, and the end of the process for all other threads.
Nothing is lost by ending earlier: every write is one transaction, and the next start carries on. What is in the way of
every thread, as the loading of a large library can be, is in the way of this one, too.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from threading import Lock, Thread
from typing import NoReturn

STATUS = 130
"""Exit status after Ctrl-C."""
GRACE = 1.0
"""Seconds in which the process may end in order."""
_SHOW_CURSOR = "\x1b[?25h\x1b[0m"

_unsaid = Lock()
"""Held for good by whoever says that the command is stopping."""


def watch() -> None:
    """From now on see to it that Ctrl-C ends this process; for the main thread of a command."""
    news, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    Thread(target=_wait, args=(news,), name="interrupt", daemon=True).start()


def leave() -> NoReturn:
    """End the process after Ctrl-C: all that was open is closed, and no thread that still works is waited for."""
    _announce()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(STATUS)


def _wait(news: int) -> None:
    """Wait for the signal, say so, and end the process where it does not end itself in time."""
    while signal.SIGINT not in os.read(news, 1):
        pass
    _announce()
    time.sleep(GRACE)
    if os.isatty(2):
        _say(_SHOW_CURSOR)  # a live display hides it
    os._exit(STATUS)


def _announce() -> None:
    if _unsaid.acquire(blocking=False):
        _say("whylike: stopping\n")


def _say(text: str) -> None:
    """Write past Python's streams and the live display, whose locks may be held by what does not end."""
    with suppress(OSError):
        os.write(2, text.encode())
