"""What the nodes work with: the store, the index and the experts, opened once."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Self

from whylike.adapters.engines import open_engine
from whylike.adapters.engines.base import Engine
from whylike.adapters.registry.following import Following
from whylike.adapters.registry.registry import Registry
from whylike.agents.calibration import Calibrator
from whylike.agents.oncall import OnCall
from whylike.agents.predictor import Predictor
from whylike.agents.reasoner import Reasoner
from whylike.agents.recipe import digest
from whylike.agents.summarizer import Summarizer
from whylike.graph.forgetting import finish
from whylike.graph.lately import Lately
from whylike.memory.embeddings import Embedder
from whylike.memory.index import Index, Progress
from whylike.memory.store import Store
from whylike.records import History
from whylike.settings import Settings


@dataclass(frozen=True)
class Services:
    """The parts that every query shares. Safe to use from several threads."""

    settings: Settings
    store: Store
    index: Index
    embedder: Embedder
    registry: Registry
    engine: Engine
    following: Following | None
    """Keeps the engine at what is promoted; None where the caller brought an engine, whose adapters are its own."""
    summarizer: Summarizer
    reasoner: Reasoner
    predictor: Predictor
    on_call: OnCall
    now: Callable[[], int]
    lately: dict[str, Lately] = field(default_factory=dict, compare=False)
    """By the calibrator that is kept in the store: what follows the ratings that come in for it."""

    @classmethod
    @contextmanager
    def open(cls, settings: Settings, *, engine: Engine | None = None, told: Progress | None = None) -> Generator[Self]:
        """Open what `settings` name and close it at the end.

        Args:
            settings: Where the store is, and which engine answers.
            engine: Another engine than they name.
            told: Told of progress where the index has to follow the store first.

        Raises:
            StoreError: The store or its index cannot be opened, or a live adapter has been changed since it was added.
            UsageError: A live adapter was trained on another base model than `settings` name.
        """
        with ExitStack() as stack:
            store = stack.enter_context(Store.open(settings))
            finish(settings, store)
            embedder = Embedder()
            index = stack.enter_context(Index.open(settings, store, embedder, told))
            registry = Registry(settings, store)
            following = None
            if engine is None:
                versions = registry.live_versions()
                used = stack.enter_context(closing(open_engine(settings, registry.adapters(versions))))
                following = Following(registry, used, versions)
            else:
                used = engine
            yield cls(
                settings=settings,
                store=store,
                index=index,
                embedder=embedder,
                registry=registry,
                engine=used,
                following=following,
                summarizer=Summarizer(used, embedder),
                reasoner=Reasoner(used),
                predictor=Predictor(used, registry.scales),
                on_call=OnCall(store, settings),
                now=lambda: int(time.time()),
            )

    @property
    def mark(self) -> str:
        """What a calibrator is kept for: the Predictor, and what the other experts and the settings give it to read."""
        given = self.summarizer.mark, self.reasoner.mark, self.settings.history, self.settings.item_profile
        return f"{self.predictor.mark}+{digest(given)[:8]}"

    def calibrator(self) -> Calibrator | None:
        """What calibrates the ratings now, if one was fitted for these experts and kept in the store."""
        kept = self.store.calibration(self.mark)
        return Calibrator.model_validate_json(kept) if kept else None

    def calibrator_as_of(self, known: History) -> Calibrator | None:
        """The same with its interval as of the pair's time."""
        kept = self.store.calibration(self.mark)
        if not kept:
            return None
        lately = self.lately.get(kept)
        if lately is None:
            self.lately.clear()
            lately = Lately(self.store, self.settings.history, Calibrator.model_validate_json(kept))
            self.lately[kept] = lately
        return lately.as_of(known.user_id, known.item_id, known.before)

    def query(self) -> AbstractContextManager[None]:
        """Around each query: at its beginning the engine takes on what has been promoted, and keeps it to the end."""
        return self.following.query() if self.following else nullcontext()
