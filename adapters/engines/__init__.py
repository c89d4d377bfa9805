"""Engines: what runs the experts."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import assert_never

from whylike.adapters.engines.base import Adapter, Engine
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.records import Expert
from whylike.settings import Settings

# OpenVINO tells its makers over the network that it was imported, unless what it tells them with is missing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
# torch's threads wait for one another by spinning. Beside any other busy process the default spins so long that a token
# takes ten times its time or more; this much costs a tenth on an idle machine. It is read when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def open_engine(settings: Settings, adapters: Mapping[Expert, Adapter] | None = None) -> Engine:
    """The engine that `settings` name; it loads its model at the first request. The caller closes it.

    `adapters`: those that answer; an expert that is not among them answers with the base model.
    """
    match settings.engine:
        case "scripted":
            return ScriptedEngine(adapters=adapters)
        case "local" | "reference":
            from whylike.adapters.engines.local import LocalEngine  # noqa: PLC0415 - torch takes seconds to import

            return LocalEngine(settings, adapters)
        case "vllm":
            from whylike.adapters.engines.vllm import VllmEngine  # noqa: PLC0415 - as above

            return VllmEngine(settings, adapters)
        case _:
            assert_never(settings.engine)
