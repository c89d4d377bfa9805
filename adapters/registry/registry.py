"""The adapter registry: adds versions, says which answer, promotes and rolls back.

An adapter version is a folder that never changes, named by its content. SQL has the cards and the pointers; the folders
lie beside it, and those that come with whylike inside the package.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from pydantic import Field, ValidationError
from rapidfuzz import process

from whylike.adapters.engines.base import Adapter, Engine
from whylike.adapters.registry.checks import check_contents, check_names, highest_rank, refusal
from whylike.adapters.registry.identity import CARD, CONFIG, PARTS, base_fingerprint, fingerprint
from whylike.errors import NotFoundError, StoreError, UsageError
from whylike.memory.store import Store
from whylike.records import AdapterCard, Expert, Promotion, Provenance, RatingScale, Record
from whylike.settings import PACKAGED_MODEL, Settings

SHIPPED = Path(__file__).parents[1] / "shipped"
"""The adapters that come with whylike."""
OPTIONAL = "optional"
"""The folder among them of those that answer only where they are promoted."""
LATEST = 253_402_300_799
"""The last second of the year 9999, in seconds since 1970; a card may say anything."""
PARTIAL = ".partial"
"""Where an adapter is until it is whole; the name begins with a point, which no version does."""


class Entry(Record):
    """An adapter version as lists show it."""

    card: AdapterCard
    live: bool
    shipped: bool
    """Whether it comes with whylike."""


class Listing(Record):
    """The document that `whylike adapters list --json` prints."""

    adapters: list[Entry]
    live: dict[Expert, str | None] = Field(description="What answers for each expert; null is the base model alone")


class Details(Entry):
    """The document that `whylike adapters show --json` prints."""

    saw_forgotten: int = Field(description="Users that it learned from who have since been forgotten")

    promotions: list[Promotion] = Field(description="Those that made it live or took its place, oldest first")


class Moved(Record):
    """What a promotion or a rollback did; None is the base model alone."""

    expert: Expert
    before: str | None
    now: str | None


class Registry:
    """The adapters of one store. Safe to use from several threads and processes."""

    def __init__(self, settings: Settings, store: Store, shipped: Path | None = None) -> None:
        """`shipped`: holds the adapters that come along; without it those that come with whylike."""
        self.settings = settings
        self._store = store
        self._shipped_folder = SHIPPED if shipped is None else shipped
        self.folder = store.folder / "adapters"

    def add(self, source: Path, provenance: Provenance, run: str | None = None) -> str:
        """Take an adapter into the registry; the same content again is the same version, whose card stays.

        A kill at any moment leaves the registry as it was, or the version in it.

        Args:
            source: The folder as PEFT wrote it, or as another registry keeps it.
            provenance: How it came to be; where it is a card, the content has to be what the card says.
            run: The training that made it, if it was made from this store (`Store.note_learning`).

        Returns:
            Its version.

        Raises:
            InputError: It is damaged, is not plain LoRA, or does not fit the base model.
            EngineError: The base model is not here to compare with.
            StoreError: There is no room, or no permission to write.
        """
        check_names(source)
        base = base_fingerprint(self.settings)
        if provenance.base_hash and base and provenance.base_hash != base:
            raise refusal(
                source,
                f"was trained on another base model (hash {provenance.base_hash[:8]}) than setting model names "
                f"({self.settings.model}, hash {base[:8]})",
                "set model to its base model, or train it on this one",
            )
        with self._place() as partial:
            for name in PARTS:
                shutil.copyfile(source / name, partial / name)
            config = check_contents(partial, source, self.settings)
            (partial / CONFIG).write_bytes(json.dumps(config, indent=2, sort_keys=True).encode())
            content = fingerprint(partial)
            if isinstance(provenance, AdapterCard) and provenance.content_hash != content:
                raise refusal(
                    source, "is not what its card says", "copy it again, or remove card.json to add it without"
                )
            card = AdapterCard(
                **provenance.model_dump(include=Provenance.model_fields.keys() - {"base_hash"}),
                base_hash=base or "",
                version=f"{provenance.expert}-{content[:8]}",
                content_hash=content,
                base_model=_name(self.settings.model),
                rank=highest_rank(config),
            )
            self._keep(partial, self._settled(card, source), run)
        return card.version

    def card(self, version: str) -> AdapterCard:
        """The card of a version. Raises `NotFoundError` that offers the nearest."""
        card = self._known(version)
        if card is None:
            known = [entry.card.version for entry in self.entries()]
            near = [name for name, *_ in process.extract(version, known, limit=3, score_cutoff=60)]
            offer = f"did you mean {' or '.join(near)}? " if near else ""
            raise NotFoundError(
                f"there is no adapter {version!r}; {offer}`whylike adapters list` shows those there are, "
                "`whylike adapters add` adds one"
            )
        return card

    def scales(self, version: str) -> tuple[RatingScale, ...]:
        """The rating scales that a version was taught on, as far as its card says so."""
        card = self._known(version)
        return card.scales if card else ()

    def lineage(self, version: str) -> tuple[AdapterCard, ...]:
        """The cards of a version and of all that it goes on from, its own last (`Provenance.ancestors`)."""
        card = self.card(version)
        known = card.ancestors
        if card.parent and not known and self._known(card.parent):
            known = self.lineage(card.parent)
        return (*known, card.model_copy(update={"ancestors": ()}))

    def learned_until(self, version: str) -> int | None:
        """When the latest review was written that a version learned from, as far as its card says so."""
        card = self._known(version)
        until = card.made_with.get("learned_until") if card else None
        return until if isinstance(until, int) and 0 < until <= LATEST else None

    def _known(self, version: str) -> AdapterCard | None:
        return self._store.adapter(version) or self._shipped.get(version)

    def entries(self) -> list[Entry]:
        """All versions, by expert and age."""
        added = {card.version: card for card in self._store.adapters()}
        live = set(self.live_versions().values())
        cards = sorted(
            {**self._shipped, **added}.values(),
            key=lambda card: (list(Expert).index(card.expert), card.created_at, card.version),
        )
        return [Entry(card=card, live=card.version in live, shipped=card.version in self._shipped) for card in cards]

    def listing(self) -> Listing:
        """All versions, and what answers for each expert."""
        live = self.live_versions()
        return Listing(adapters=self.entries(), live={expert: live.get(expert) for expert in Expert})

    def details(self, version: str) -> Details:
        """All that is known of a version. Raises `NotFoundError` that offers the nearest."""
        card = self.card(version)
        [entry] = [entry for entry in self.entries() if entry.card.version == version]
        history = self.history(card.expert)
        about = [
            move
            for before, move in zip([None, *history], history, strict=False)
            if version in {move.version, before and before.version}
        ]
        return Details(**dict(entry), promotions=about, saw_forgotten=self._store.saw_forgotten(version))

    def history(self, expert: Expert | None = None) -> list[Promotion]:
        """The promotions of one expert, or of all, oldest first."""
        return self._store.promotions(expert)

    def live_versions(self) -> dict[Expert, str]:
        """The version that answers for each expert that has one; one read of the store, and no look at the folders."""
        versions = {**self._shipped_live, **self._store.live_versions()}
        return {expert: version for expert in Expert if (version := versions.get(expert)) is not None}

    def live(self) -> dict[Expert, Adapter]:
        """The adapters that answer, as `adapters` gives them."""
        return self.adapters(self.live_versions())

    def adapters(self, versions: dict[Expert, str]) -> dict[Expert, Adapter]:
        """These versions for engines, after a look at whether they are what they were.

        Raises:
            StoreError: One has been changed since it was added, or is gone.
            UsageError: One was trained on another base model than the settings name.
        """
        return {expert: self._usable(self.card(version)) for expert, version in versions.items()}

    def promote(self, version: str, by: str, engine: Engine | None = None) -> Moved:
        """Have a version answer for its expert.

        Args:
            version: A version that was added, or one that came with whylike.
            by: Who promotes it.
            engine: An engine that is to answer with it; the pointer moves only once it has adopted it.

        Raises:
            NotFoundError: There is no such version.
            StoreError: It has been changed since it was added, or is gone.
            UsageError: It was trained on another base model than the settings name.
            EngineError: `engine` could not load it, and nothing was promoted.
        """
        card = self.card(version)
        adapter = self._usable(card)
        self._own(card)
        before = self._first(card.expert)
        if engine is not None:
            engine.adopt({**self.live(), card.expert: adapter})
        was = self._store.promote(card.expert, version, by, before=before)
        return Moved(expert=card.expert, before=was, now=version)

    def roll_back(self, expert: Expert, by: str) -> Moved:
        """Go back to what answered before the live version was promoted; another call goes further back.

        It never looks at the folders, so that it is a way out where they are damaged.

        Raises:
            UsageError: The base model alone answers; there is nothing before that.
        """
        moved = self._store.roll_back(expert, by, before=self._first(expert))
        if moved is None:
            raise UsageError(
                f"the {expert} answers with the base model alone, and there is nothing before that to go back to; "
                "`whylike adapters promote VERSION` makes an adapter live"
            )
        return Moved(expert=expert, before=moved[0], now=moved[1])

    @cached_property
    def _base(self) -> str | None:
        """What the served base model is known by; None where no model is served or it is not known."""
        return None if self.settings.engine == "scripted" else base_fingerprint(self.settings)

    @cached_property
    def _shipped_folders(self) -> dict[str, Path]:
        """Where the adapters are that come with whylike, by version."""
        cards = [*self._shipped_folder.glob(f"*/{CARD}"), *self._shipped_folder.glob(f"{OPTIONAL}/*/{CARD}")]
        return {path.parent.name: path.parent for path in sorted(cards)}

    @cached_property
    def _shipped(self) -> dict[str, AdapterCard]:
        """Their cards, by version."""
        return {
            version: AdapterCard.model_validate_json((folder / CARD).read_bytes())
            for version, folder in self._shipped_folders.items()
        }

    @cached_property
    def _shipped_live(self) -> dict[Expert, str]:
        """Which of them answer where nothing has been promoted: the newest of each expert, on their own base model."""
        fitting = (
            card
            for version, card in self._shipped.items()
            if self._shipped_folders[version].parent.name != OPTIONAL and self._base and card.base_hash == self._base
        )
        return {card.expert: card.version for card in sorted(fitting, key=lambda card: card.created_at)}

    def _usable(self, card: AdapterCard) -> Adapter:
        """The adapter of this card, unchanged and on its base model."""
        if self._base and card.base_hash != self._base:
            raise UsageError(
                f"the adapter {card.version} was trained on {card.base_model}, and setting model names "
                f"{self.settings.model}; set model back, promote one that was trained on it, or run "
                f"`whylike adapters rollback {card.expert}`"
            )
        folder = self.folder / card.version
        if card.version in self._shipped and not folder.is_dir():
            folder = self._shipped_folders[card.version]
        problem = _problem(folder, card.content_hash)
        if problem:
            raise StoreError(
                f"the adapter {folder} {problem}; add it again with `whylike adapters add`, or run "
                f"`whylike adapters rollback {card.expert}`"
            )
        return Adapter(version=card.version, folder=folder)

    def _first(self, expert: Expert) -> str | None:
        """The version that came with whylike and answers while nothing has been promoted; it is then in the store."""
        version = None if expert in self._store.live_versions() else self._shipped_live.get(expert)
        if version is not None:
            self._own(self.card(version))
        return version

    def _own(self, card: AdapterCard) -> None:
        """Make sure that a version is in the store; one that came with whylike may go with its next release."""
        if self._store.adapter(card.version) is None:
            source = self._usable(card).folder
            with self._place() as partial:
                for name in PARTS:
                    shutil.copyfile(source / name, partial / name)
                self._keep(partial, card)

    def _settled(self, card: AdapterCard, source: Path) -> AdapterCard:
        """The card that counts: that of an earlier add of the same content, else this one."""
        known = self._store.adapter(card.version)
        if known is not None and known.content_hash != card.content_hash:
            raise refusal(source, f"has another content than the {card.version} that is there", "train it once more")
        return known or card

    def _keep(self, partial: Path, card: AdapterCard, run: str | None = None) -> None:
        """Move a whole adapter to its place and note its card."""
        (partial / CARD).write_text(card.model_dump_json(indent=2), encoding="utf-8")
        for path in partial.iterdir():
            _flush(path)
        folder = self.folder / card.version
        if folder.exists() and _problem(folder, card.content_hash):
            shutil.rmtree(folder)  # it was damaged, and comes back whole
        if not folder.exists():
            partial.rename(folder)
            _flush(self.folder)
        self._store.add_adapter(card, run)

    @contextmanager
    def _place(self) -> Generator[Path]:
        """An empty folder to make an adapter in, which nobody else uses; it is gone at the end."""
        partial = self.folder / PARTIAL
        try:
            with self._store.database.exclusive("adapters"):
                shutil.rmtree(partial, ignore_errors=True)  # of an add that was killed: whoever made it is no more
                partial.mkdir(parents=True)
                try:
                    yield partial
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
        except OSError as error:
            raise StoreError(
                f"the adapter could not be kept in {self.folder} ({error.strerror or error}); "
                "make room, mend its permissions or give another folder with --store"
            ) from error


def card_of(folder: Path) -> AdapterCard | None:
    """The card that lies in a folder, if there is one. Raises `InputError` where it is none of whylike's."""
    try:
        return AdapterCard.model_validate_json((folder / CARD).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        raise refusal(
            folder, f"has a damaged {CARD}", "remove that file; the adapter is then added without it"
        ) from None


def _problem(folder: Path, content_hash: str) -> str:
    """What is wrong with an adapter's folder; empty where it is as it was added."""
    if not folder.is_dir():
        return "is gone"
    try:
        strange = {path.name for path in folder.iterdir()} - {*PARTS, CARD}
        if strange:
            return f"holds {min(strange)}, which was not there when it was added"
        return "" if fingerprint(folder) == content_hash else "has been changed since it was added"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _name(model: str) -> str:
    """What the base model is called."""
    folder = Path(model)
    return folder.resolve().name if model != PACKAGED_MODEL and folder.is_dir() else model


def _flush(path: Path) -> None:
    """Have the disk keep what was written, so that a power cut leaves no half of it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
