"""The commands of `whylike vllm`: start, see and stop the vLLM server of this machine."""

# What is heavy is imported inside the commands, so that `whylike --help` is there at once.
# ruff: noqa: PLC0415
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from whylike.dates import minute
from whylike.options import PLAIN, Json, Store, Verbose, examples, show
from whylike.terminal import log, messages, plain, results

if TYPE_CHECKING:
    from rich.console import RenderableType

    from whylike.adapters.engines.base import Adapter
    from whylike.adapters.server import ServerStatus
    from whylike.records import Expert
    from whylike.settings import Settings

vllm_app = typer.Typer(
    help="Run the experts on a vLLM server.", epilog=examples("whylike vllm up", "whylike vllm status"), **PLAIN
)


@vllm_app.command(epilog=examples("whylike vllm up", "whylike vllm up --print"))
def up(
    print_: Annotated[
        bool, typer.Option("--print", help="Only print the command, for whoever runs it elsewhere.")
    ] = False,
    dtype: Annotated[
        Literal["auto", "bfloat16", "float32"] | None,
        typer.Option(help="What the model computes in; auto is what it is stored in. Default: float32, on a GPU auto."),
    ] = None,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Start the server and wait until it is healthy.

    It serves the base model and the live adapters, and goes on in the background until `whylike vllm down`. Then
    WHYLIKE_ENGINE=vllm makes every command use it.
    """
    from whylike.adapters.serving import launch, startable
    from whylike.graph.state import Event
    from whylike.progress import Watch
    from whylike.settings import load

    log(verbose)
    settings = load({"store": store})
    if print_:
        typer.echo(launch(settings, _live(settings), dtype=dtype).command)
        return
    startable(settings)
    with Watch(messages(), "preparing the base model") as watch:
        from whylike.adapters import server

        wanted = launch(settings, _live(settings), dtype=dtype)
        try:
            server.up(settings, wanted, lambda: watch.event(Event(node="start")))
        except server.ServerError as error:
            for line in error.log:
                messages().print(plain(line), style="dim", soft_wrap=True)
            raise
    results().print(status_card(server.status(settings)))


@vllm_app.command(epilog=examples("whylike vllm down"))
def down(store: Store = None, verbose: Verbose = 0) -> None:
    """Stop the server that `whylike vllm up` started."""
    from whylike.adapters import server
    from whylike.progress import Watch
    from whylike.settings import load

    log(verbose)
    settings = load({"store": store})
    with Watch(messages(), "stopping the vLLM server"):
        stopped = server.down(settings)
    told = f"The vLLM server at {stopped.url} is stopped." if stopped else "No vLLM server was started from here."
    results().print(plain(told), soft_wrap=True)


@vllm_app.command(epilog=examples("whylike vllm status", "whylike vllm status --json"))
def status(as_json: Json = False, store: Store = None, verbose: Verbose = 0) -> None:
    """Show what runs: the server, its model and adapters, its memory, and how well prompts share their beginnings."""
    from whylike.adapters import server
    from whylike.settings import load

    log(verbose)
    found = server.status(load({"store": store}))
    show(found, None if as_json else status_card(found))


def _live(settings: Settings) -> Mapping[Expert, Adapter]:
    """The adapters that the store's registry has live."""
    from whylike.adapters.registry.registry import Registry
    from whylike.memory.store import Store as Truth

    with Truth.open(settings) as truth:
        return Registry(settings, truth).live()


def status_card(found: ServerStatus) -> RenderableType:
    """The status for people."""
    from rich.table import Table
    from rich.text import Text

    from whylike.terminal import Narrow

    if not found.healthy and found.pid is None:
        return Text(f"No vLLM server answers at {plain(found.url)}; `whylike vllm up` starts one.")
    rows = {"server": f"{found.url}, {'healthy' if found.healthy else 'not healthy'}"}
    if found.healthy:
        rows["base model"] = ", ".join(found.base)
        rows["adapters"] = ", ".join(found.adapters) or "none"
        rows["prefix cache"] = (
            f"{found.cache.rate:.0%} of {found.cache.prompt_tokens:,} prompt tokens were computed already"
            if found.cache
            else "nothing asked yet"
        )
    if found.memory_mib is not None:
        rows["memory"] = f"{found.memory_mib:,} MiB"
    if found.created is not None:
        rows["process"] = f"{found.pid}, since {minute(found.created)}"
    if found.log is not None:
        rows["log"] = found.log
    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(Text(name, style="bold"), Text(plain(value), overflow="fold"))
    return Narrow(table)
