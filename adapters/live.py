"""Which adapters answer now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from whylike.records import Expert
from whylike.settings import Settings


def live_adapters(settings: Settings) -> Mapping[Expert, Path]:
    """The folder of the live adapter of each expert that has one; none has been trained yet."""
    return {}
