"""A forgetting that was cut off is finished."""

from __future__ import annotations

from pathlib import Path

import pytest
from forgettable import NEEDLES, WHO, Opened, fill, theirs
from leftovers import left

from whylike.graph.forgetting import finish, forget, forgotten_before
from whylike.graph.pair import Services
from whylike.memory.store import Store
from whylike.settings import Settings


class CutError(Exception):
    """Something stopped it."""


def cut_off(services: Services, patch: pytest.MonkeyPatch, where: str) -> None:
    """Forget the user until a step of it, which fails."""

    def cut(*_: object) -> None:
        raise CutError

    with patch.context() as patched, pytest.raises(CutError):
        patched.setattr(where, cut)
        forget(services.settings, services.store, WHO)


@pytest.mark.parametrize(
    "where",
    [
        "whylike.graph.forgetting.drop_spoilt",
        "whylike.memory.store.Store.erase",
        "whylike.graph.forgetting._purge",
        "whylike.memory.index.Index.renew",
        "whylike.memory.database.Database.purge",
    ],
)
def test_what_was_cut_off_is_finished(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    for by in ("a later opening", "the same command"):
        at = tmp_path / by
        with opened(at=at) as services:
            fill(services)
            cut_off(services, monkeypatch, where)
            assert left(at, NEEDLES)
            assert services.store.readmit(WHO) is False, "not before its end"
            if by == "the same command":
                again = forget if services.store.has_user(WHO) else forgotten_before
                again(services.settings, services.store, WHO)
                assert not left(at, NEEDLES)
        with opened(at=at) as services:
            assert not left(at, NEEDLES)
            assert services.store.unfinished() == []


def test_one_that_is_asked_for_again_while_it_runs_ends_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(store=folder)
    with Store.open(settings) as store:
        store.add_reviews(theirs())
        purge = store.database.purge
        again = iter([lambda: store.begin_forgetting(WHO)])

        def purging() -> None:
            purge()
            next(again, lambda: None)()

        monkeypatch.setattr(store.database, "purge", purging)
        forget(settings, store, WHO)
        assert [each.user_id for each in store.unfinished()] == [WHO]
        finish(settings, store)
        assert store.unfinished() == []
        assert not left(folder, NEEDLES)
