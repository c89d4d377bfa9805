"""What HTTP servers of language models say where they do not answer."""

from __future__ import annotations

import json
from collections.abc import Mapping


def message(content: bytes) -> str:
    """What a refusal says: the message of an OpenAI-compatible error, or the beginning of whatever it is."""
    text = content.decode(errors="replace")
    try:
        told = json.loads(text)["error"]["message"]
    except (ValueError, TypeError, LookupError, RecursionError):
        told = text
    return str(told).strip().partition("\n")[0][:200] or "without a word"


def said(error: Exception) -> str:
    """What an error says, or what it is."""
    return str(error).strip() or type(error).__name__


def pause(headers: Mapping[str, str]) -> float:
    """How many seconds the server asks to wait; 0 where it does not say so in seconds."""
    try:
        return max(0.0, float(headers.get("retry-after", 0)))
    except ValueError:
        return 0.0
