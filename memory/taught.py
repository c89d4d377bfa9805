"""The part of the store about what the experts were taught: adapter versions, and which of them were live since when.

The promotions are only ever added to. The live version of an expert is that of its last one; None is the base model.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

from sqlalchemy import Connection, func, insert, select

from whylike.memory.database import Database
from whylike.memory.forgotten import adopt
from whylike.memory.schema import adapter_versions, meta, promotions, records
from whylike.records import AdapterCard, Expert, Promotion

_CALIBRATION = "calibration:"
"""Begins the name of a calibrator in the table of single values; the predictor's mark follows."""


class Taught:
    """What the experts were taught; a part of `Store`."""

    database: Database

    def add_adapter(self, card: AdapterCard, run: str | None = None) -> None:
        """Add an adapter version; of two cards for one version the first stays.

        Args:
            card: Its card.
            run: The training that made it (`note_learning`): what that and its ancestors saw it has seen.
        """
        values = {"version": card.version, "expert": card.expert.value, "card": card.model_dump_json()}
        with self.database.write() as connection:
            connection.execute(
                self.database.insert(adapter_versions)
                .values(added_at=int(time.time()), **values)
                .on_conflict_do_nothing()
            )
            if run is not None:
                ancestors = [*(each.version for each in card.ancestors), *filter(None, [card.parent])]
                adopt(self.database, connection, run, card.version, ancestors)

    def adapter(self, version: str) -> AdapterCard | None:
        """The card of an adapter version."""
        query = select(adapter_versions.c.card).where(adapter_versions.c.version == version)
        with self.database.read() as connection:
            card = connection.execute(query).scalar_one_or_none()
        return None if card is None else AdapterCard.model_validate_json(card)

    def adapters(self) -> list[AdapterCard]:
        """The cards of all adapter versions, in the order in which they were added."""
        query = select(adapter_versions.c.card).order_by(adapter_versions.c.added_at, adapter_versions.c.version)
        with self.database.read() as connection:
            return [AdapterCard.model_validate_json(card) for card in connection.execute(query).scalars()]

    def live_versions(self) -> dict[Expert, str | None]:
        """What answers for each expert for which anything was ever promoted."""
        last = select(func.max(promotions.c.promotion_id)).group_by(promotions.c.expert)
        query = select(promotions.c.expert, promotions.c.version).where(promotions.c.promotion_id.in_(last))
        with self.database.read() as connection:
            return {Expert(expert): version for expert, version in connection.execute(query)}

    def keep_calibration(self, mark: str, body: str) -> None:
        """Keep what calibrates the ratings of a predictor; a later one takes the earlier one's place.

        Args:
            mark: The predictor's adapter version and recipe.
            body: The calibrator as JSON.
        """
        upsert = self.database.insert(meta).values(name=f"{_CALIBRATION}{mark}", value=body)
        with self.database.write() as connection:
            connection.execute(upsert.on_conflict_do_update(index_elements=["name"], set_={"value": body}))

    def calibration(self, mark: str) -> str | None:
        """What was kept of `keep_calibration`."""
        query = select(meta.c.value).where(meta.c.name == f"{_CALIBRATION}{mark}")
        with self.database.read() as connection:
            return connection.execute(query).scalar_one_or_none()

    def promotions(self, expert: Expert | None = None) -> list[Promotion]:
        """The promotions of one expert, or of all, oldest first."""
        with self.database.read() as connection:
            return _promotions(connection, expert)

    def promote(self, expert: Expert, version: str, by: str, *, before: str | None = None) -> str | None:
        """Have a version answer for the expert; promoting what is live changes nothing.

        Args:
            expert: Whose adapter it is.
            version: An adapter version that was added.
            by: Who promotes it.
            before: What answered while nothing had been promoted; it gets its place in the history.

        Returns:
            What was live until then.

        Raises:
            StoreError: The version was not added.
        """
        with self.database.write() as connection:
            behind = _behind(connection, expert, before)
            if behind[-1] != version:
                _move(connection, expert, version, by, "promote")
            return behind[-1]

    def roll_back(self, expert: Expert, by: str, *, before: str | None = None) -> tuple[str | None, str | None] | None:
        """Go back to what answered for the expert before its live version was promoted; a second call goes further.

        Args:
            expert: Whose adapter it is.
            by: Who asks for it.
            before: As of `promote`.

        Returns:
            What was live until then and what is live now; None where the base model alone is, and nothing changes.
        """
        with self.database.write() as connection:
            behind = _behind(connection, expert, before)
            if len(behind) == 1:
                return None
            _move(connection, expert, behind[-2], by, "rollback")
            return behind[-1], behind[-2]


def _promotions(connection: Connection, expert: Expert | None) -> list[Promotion]:
    query = select(promotions).order_by(promotions.c.promotion_id)
    if expert is not None:
        query = query.where(promotions.c.expert == expert.value)
    return records(Promotion, connection.execute(query).mappings())


def _behind(connection: Connection, expert: Expert, before: str | None) -> Sequence[str | None]:
    """The way back: the base model first, the live version last; `before` is noted where there is no history yet."""
    history = _promotions(connection, expert)
    if not history and before is not None:
        _move(connection, expert, before, "whylike", "promote")
        history = _promotions(connection, expert)
    versions: list[str | None] = [None]
    for each in history:
        if each.kind == "promote":
            versions.append(each.version)
        else:
            versions.pop()
    return versions


def _move(
    connection: Connection, expert: Expert, version: str | None, by: str, kind: Literal["promote", "rollback"]
) -> None:
    moved = Promotion(expert=expert, version=version, promoted_at=int(time.time()), promoted_by=by, kind=kind)
    connection.execute(insert(promotions), [{**moved.model_dump(), "expert": expert.value}])
