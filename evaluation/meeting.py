"""Where two profiles meet, in numbers: how close a user's likes and dislikes are to what others like and dislike.

An average cannot know that this user dislikes just what this item is blamed for. Sentence vectors of the aspects can:
their cosines, list by list, and where each list stands among all of its kind, in a few dimensions (principal
components). What of it helps to foretell ratings is for a calibrator to find out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from whylike.agents.calibration import DIMENSIONS, LISTS
from whylike.agents.closeness import cosines
from whylike.memory.embeddings import Embedder
from whylike.preparing import Told
from whylike.records import Aspects, Profile

AT_ONCE = 256
"""Aspects that are embedded at once."""

Vectors = NDArray[np.float32]


def meetings(
    pairs: Sequence[tuple[Profile, Profile]], embedder: Embedder, told: Told = lambda *_: None
) -> list[dict[str, float]]:
    """What a calibrator's groups `PROFILES` and `TEXTS` want to know of a user's and an item's profile.

    Args:
        pairs: The profiles; no rating is looked at.
        embedder: Makes vectors of aspects.
        told: Told of progress.

    Returns:
        The features of each pair; those of an empty list are missing, but for its length.

    Raises:
        StoreError: The package with the embedding weights is not installed.
    """
    lists = [
        dict(zip(LISTS, (user.likes, user.dislikes, item.likes, item.dislikes), strict=True)) for user, item in pairs
    ]
    vectors = _vectors([aspect for each in lists for aspects in each.values() for aspect in aspects], embedder, told)
    found = [_closeness(each, vectors) for each in lists]
    for name in LISTS:
        means = {
            aspects: np.mean([vectors[aspect] for aspect in aspects], axis=0)
            for aspects in dict.fromkeys(each[name] for each in lists)
            if aspects
        }
        if len(means) > DIMENSIONS:
            where = dict(zip(means, _components(np.array(list(means.values()))), strict=True))
            for features, each in zip(found, lists, strict=True):
                if each[name]:
                    features |= {f"{name}_{n}": float(at) for n, at in enumerate(where[each[name]])}
    return found


def _vectors(aspects: Sequence[str], embedder: Embedder, told: Told) -> Mapping[str, Vectors]:
    """The vector of each aspect."""
    different = list(dict.fromkeys(aspects))
    found: dict[str, Vectors] = {}
    for start in range(0, len(different), AT_ONCE):
        told("reading the profiles", start, len(different))
        part = different[start : start + AT_ONCE]
        found |= zip(part, embedder.embed(part), strict=True)
    told("reading the profiles", len(different), len(different))
    return found


def _closeness(lists: Mapping[str, Aspects], vectors: Mapping[str, Vectors]) -> dict[str, float]:
    found = {f"{name}_count": math.log1p(len(aspects)) for name, aspects in lists.items()}
    for own in LISTS[:2]:
        for other in LISTS[2:]:
            if lists[own] and lists[other]:
                left, right = (np.array([vectors[aspect] for aspect in lists[name]]) for name in (own, other))
                close = cosines(left, right)
                found[f"{own}_{other}_mean"] = float(close.mean())
                found[f"{own}_{other}_best"] = float(close.max(axis=1).mean())
                found[f"{own}_{other}_most"] = float(close.max())
    return found


def _components(means: Vectors) -> NDArray[np.float64]:
    """The first principal components of some vectors, `[n, DIMENSIONS]`."""
    off = (means - means.mean(axis=0)).astype(np.float64)
    _, directions = np.linalg.eigh(off.T @ off)
    return np.asarray(off @ directions[:, ::-1][:, :DIMENSIONS])
