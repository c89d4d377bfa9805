"""What teachers wrote, for whoever wants to see it: `whylike annotate list`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from whylike.memory.annotations import Written
from whylike.memory.store import Store
from whylike.records import Record, SummaryAnnotation

STUDENT = "student:"
"""What the name of a student begins with that wrote reasons itself."""
NANOSECONDS = 10**9


class Entry(Record):
    """One annotation, and where it is from."""

    kind: Literal["summary", "reason"]
    text: str
    teacher: str = Field(description="Its name and recipe, or the file that it came in")
    at: int = Field(description="When it was written or taken in: seconds since 1970")
    purpose: str = Field(description="What the teacher was asked for; empty where it came in a file")
    user_id: str = Field(description="For whom, or whose review; empty where that is not known")
    item_id: str = Field(description="About what; empty where that is not known")
    reviews: list[str] = Field(description="Ids of the reviews that it was written from, as far as that is known")
    why: str = Field(description="What was doubtful of the student's answer; empty where no user waited for it")
    instead: str = Field(description="What the student had written")


class Listing(Record):
    """The document that `whylike annotate list --json` prints."""

    annotations: int = Field(description="All that there are")
    newest: list[Entry]


def listing(store: Store, limit: int) -> Listing:
    """The newest annotations by teachers, at most `limit`, newest first."""
    found = [_kept(each) for each in store.written()]
    for decision in store.decisions().values():
        if decision.annotation and not decision.sampler.startswith(STUDENT):
            hint = ", with the rating as a hint" if decision.outcome == "hinted" else ""
            found.append(
                Entry(
                    kind="reason",
                    text=decision.annotation.text,
                    teacher=decision.sampler,
                    at=decision.decided_at // NANOSECONDS,
                    purpose=f"annotate reasons{hint}",
                    user_id=decision.user_id,
                    item_id=decision.item_id,
                    reviews=[decision.review_id],
                    why="",
                    instead="",
                )
            )
    found.sort(key=lambda entry: -entry.at)
    return Listing(annotations=len(found), newest=found[:limit])


def _kept(written: Written) -> Entry:
    """What was kept as an annotation."""
    annotation, occasion = written.annotation, written.occasion
    kind: Literal["summary", "reason"]
    if isinstance(annotation, SummaryAnnotation):
        kind, text, item_id = "summary", _lists(annotation), annotation.item_id
    else:
        kind, text, item_id = "reason", annotation.text, occasion.item_id if occasion else ""
    return Entry(
        kind=kind,
        text=text,
        teacher=occasion.teacher if occasion else written.source,
        at=written.at,
        purpose=occasion.purpose.value if occasion else "",
        user_id=occasion.user_id if occasion else "",
        item_id=item_id,
        reviews=list(occasion.reviews) if occasion else [],
        why=occasion.why if occasion else "",
        instead=occasion.instead if occasion else "",
    )


def _lists(summary: SummaryAnnotation) -> str:
    """The three lists in words."""
    lists = {"liked": summary.likes, "disliked": summary.dislikes, "cares about": summary.preferences}
    return "; ".join(f"{verb} {', '.join(told)}" for verb, told in lists.items() if told) or "nothing"
