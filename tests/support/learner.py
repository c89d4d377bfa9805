"""Has the Predictor learn at stores, also in children that are killed on the way.

Run as a program it reads a line of JSON for each job and answers it by how it ended. A job names a store, the base
model, and where the child kills itself (`KILLS`), if anywhere. The judging is given, for a tiny model makes no sense of
ratings: the new adapter is a little better.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
from lettered import Letters

from whylike.adapters.registry import registry
from whylike.adapters.training import teach, trainer  # noqa: F401 - imported before the children are forked
from whylike.evaluation.courses.base import Reading
from whylike.evaluation.courses.ratings import Ratings
from whylike.graph import learning, services
from whylike.graph.choosing import Outcome
from whylike.memory.store import Store
from whylike.records import Expert, Review
from whylike.settings import Settings

LEAST = 20
PREDICTOR = [Expert.PREDICTOR]
KILLS = ("checkpoint", "trained", "judged", "decided", "moved")
"""After the first checkpoint, before and after the judging, and on either side of the move of the pointer."""


def settings_of(store: Path, model: Path) -> Settings:
    return Settings(
        store=store,
        model=str(model),
        device="cpu",
        engine="scripted",
        history=2,
        learn_new=40,
        learn_frozen=30,
        learn_of_user=20,
    )


def reviews(first: int, count: int, *, kind: str = "r") -> list[Review]:
    """Of thirty users and 120 items, at times in no order."""
    chance = random.Random(first)
    return [
        Review(
            review_id=f"{kind}{number}",
            user_id=f"u{chance.randrange(30)}",
            item_id=f"i{chance.randrange(120)}",
            rating=chance.randint(1, 5),
            text=f"{chance.choice('abcdefghijklmnop')}{chance.choice('qrstuvwxyz')} {chance.choice('aeiou')} it is",
            timestamp=1_500_000_000 + chance.randrange(10_000_000),
        )
        for number in range(first, first + count)
    ]


def add(settings: Settings, new: list[Review]) -> None:
    with Store.open(settings) as store:
        store.add_reviews(new)


def learn(settings: Settings, **how: Any) -> Outcome:
    [done] = learning.learn(settings, PREDICTOR, least=LEAST, **how).runs
    return done


def live(settings: Settings) -> str | None:
    with Store.open(settings) as store:
        return registry.Registry(settings, store).live_versions().get(Expert.PREDICTOR)


def judged(better: float) -> Any:
    """Stands in for `Ratings.read`: the base model alone, or what is live at first, is as far off as this is more."""
    times = iter(range(10_000))

    def read(self: Ratings, opened: services.Services, sets: Any, told: Any) -> Reading:
        off = 1.0 - better * (next(times) % 2)
        owners = {on: [f"u{number % 9}" for number in range(len(keys))] for on, keys in sets.items()}
        far = {on: np.full(len(keys), off) for on, keys in sets.items()}
        return Reading(owners, {"RMSE": far})

    return read


def _die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _watching(point: str | None) -> learning.Watching:
    seen = []

    def training(news: trainer.News) -> None:
        if news.validation is not None:
            seen.append(news.step)
        if point == "checkpoint" and len(seen) > 1:
            _die()

    return learning.Watching(training=training)


def child(job: dict[str, Any]) -> None:
    """Learn, and die where the job says so."""
    point = job["kill"]
    Ratings.read = judged(0.2)  # type: ignore[method-assign]
    if point == "trained":
        learning.readings = _die  # type: ignore[assignment]
    if point == "judged":
        learning.judge = _die  # type: ignore[assignment]
    if point == "decided":
        registry.Registry.promote = _die  # type: ignore[method-assign, assignment]
    if point == "moved":
        move = registry.Registry.promote

        def moved(*given: Any) -> None:
            move(*given)
            _die()

        registry.Registry.promote = moved  # type: ignore[method-assign, assignment]
    settings = settings_of(Path(job["store"]), Path(job["model"]))
    learning.learn(settings, PREDICTOR, least=LEAST, watching=_watching(point))


def main() -> None:
    services.Embedder = Letters  # type: ignore[misc]
    registry.SHIPPED = Path("none")
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            status = 0
            try:
                child(job)
            except BaseException:  # whatever it is, the test sees it
                traceback.print_exc()
                status = 99
            os._exit(status)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
