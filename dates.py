"""How a time is written for people to read, everywhere the same; programs get seconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime


def day(timestamp: int) -> str:
    """The day of a time, as “24 November 2026”; the number as it is where no calendar knows it."""
    try:
        moment = datetime.fromtimestamp(timestamp, UTC)
    except (ValueError, OverflowError, OSError):
        return str(timestamp)
    return f"{moment.day} {moment:%B %Y}"


def minute(timestamp: float) -> str:
    """The minute of a time, as “24 November 2026 10:05 UTC”."""
    moment = datetime.fromtimestamp(timestamp, UTC)
    return f"{moment.day} {moment:%B %Y %H:%M} UTC"
