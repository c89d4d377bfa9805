"""What a benchmark ran on, the machine and the engine: a number without them says nothing."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from whylike.records import Expert, Record

if TYPE_CHECKING:  # the process whose memory is measured does without engines
    from whylike.adapters.engines.base import Engine
    from whylike.settings import Settings

MIB = 2**20
"""Bytes of a MiB."""


class Machine(Record):
    """What a benchmark ran on."""

    processor: str
    cores: int = Field(description="Processors that this process may use")
    memory_mib: int = Field(description="Of the whole machine")
    system: str
    python: str
    load: float = Field(
        description="Processes that ran or waited to, mean of the minute before; above the cores, times mean little"
    )


class EngineSettings(Record):
    """The engine and the settings that its figures depend on."""

    engine: str
    model: str
    device: str
    batch: int
    history: int
    adapters: dict[Expert, str] = Field(description="Each expert's adapter version")


def engine_settings(settings: Settings, engine: Engine) -> EngineSettings:
    """What an engine that was opened with `settings` ran with."""
    return EngineSettings(
        engine=engine.name,
        model=settings.model,
        device=settings.device,
        batch=settings.batch,
        history=settings.history,
        adapters={expert: engine.adapter_version(expert) for expert in Expert},
    )


def machine() -> Machine:
    """This machine, now."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return Machine(
        processor=_processor(),
        cores=len(usable),
        memory_mib=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MIB,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        load=round(os.getloadavg()[0], 2),
    )


def _processor() -> str:
    """The processor's name; `platform` knows only its kind on Linux."""
    listed = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.+)$", listed.read_text(), re.MULTILINE) if listed.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()
