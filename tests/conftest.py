"""What all tests share: the same everywhere, whatever the machine has set, and never a word to the network."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# Before any library reads them.
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

hypothesis.settings.register_profile("whylike", deadline=None, derandomize=True)
hypothesis.settings.load_profile("whylike")


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in [name for name in os.environ if name.startswith("WHYLIKE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, whose `store` is the store; nothing is written elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHYLIKE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("WHYLIKE_CACHE", str(tmp_path / "cache"))
    return tmp_path
