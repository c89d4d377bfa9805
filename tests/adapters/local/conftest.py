"""The local engine on either of what computes it, watched where a test asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from locally import Watched

from whylike.adapters.engines.local import LocalEngine


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


@pytest.fixture(scope="module", params=["local", "reference"])
def open_local(request: pytest.FixtureRequest, open_local: Callable[..., LocalEngine]) -> Callable[..., LocalEngine]:
    """Opens a local engine whose model OpenVINO computes, or torch."""
    return partial(open_local, engine=request.param)


@pytest.fixture(scope="module")
def engine(open_local: Callable[..., LocalEngine]) -> Iterator[LocalEngine]:
    opened = open_local()
    yield opened
    opened.close()


@pytest.fixture
def fresh(open_local: Callable[..., LocalEngine]) -> Iterator[LocalEngine]:
    """An engine that has computed nothing yet."""
    opened = open_local()
    yield opened
    opened.close()
