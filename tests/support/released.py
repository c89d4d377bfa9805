"""Pairs in the shape in which EXP3RT's authors released theirs, all invented."""

from __future__ import annotations

from collections.abc import Sequence


def pair(
    user_id: str,
    film: int,
    averages: tuple[float, float],
    score: int,
    *,
    likes: Sequence[str] = ("dry jokes",),
    dislikes: Sequence[str] = ("blood",),
    praise: Sequence[str] = ("jokes",),
    faults: Sequence[str] = ("quarrels",),
) -> dict[str, str]:
    """A pair of a user and a film, with the averages of both, the user's first."""
    user, item = averages
    return {
        "user_id": user_id,
        "item_id": f"i{film}",
        "user_persona": _profile(likes, dislikes, user),
        "item_description": f"Title: Film {film}\nGenres: Comedy",
        "item_synopsis": _profile(praise, faults, item),
        "score": str(score),
    }


def _profile(likes: Sequence[str], dislikes: Sequence[str], average: float) -> str:
    return f"[Like]\n{_listed(likes)}\n\n[Dislike]\n{_listed(dislikes)}\n\n[Average Rating]\n{average:.1f}"


def _listed(points: Sequence[str]) -> str:
    return "\n".join(f"- {point}" for point in points) or "none"
