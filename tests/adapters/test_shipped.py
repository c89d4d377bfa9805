"""The adapters that come with whylike: what every clone takes into its store."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import whylike.cli
from whylike.adapters.registry.checks import check_contents, check_names
from whylike.adapters.registry.identity import fingerprint
from whylike.adapters.registry.registry import SHIPPED, Registry
from whylike.memory.store import Store
from whylike.records import Expert
from whylike.settings import Settings

ROOT = Path(whylike.cli.__file__).parent
LIVE = sorted(folder for folder in SHIPPED.iterdir() if folder.name != "optional")
OPTIONAL = sorted((SHIPPED / "optional").iterdir())
MOST = 12 * 2**20
"""Bytes of one (the issue that asked for them)."""


@pytest.mark.parametrize("folder", [*LIVE, *OPTIONAL], ids=lambda folder: folder.name)
def test_it_is_small_whole_and_fits_the_packaged_model(folder: Path):
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MOST
    expert, name = folder.name.split("-")
    assert fingerprint(folder).startswith(name)
    check_names(folder)
    check_contents(folder, folder, Settings())
    assert expert in set(Expert)


def test_a_new_store_has_them_all_and_the_optional_ones_do_not_answer(tmp_path: Path):
    settings = Settings(store=tmp_path / "store")
    with Store.open(settings) as store:
        registry = Registry(settings, store)
        assert sorted(registry.live_versions().values()) == [folder.name for folder in LIVE]
        for folder in (*LIVE, *OPTIONAL):
            card = registry.card(folder.name)
            assert card.content_hash == fingerprint(folder)
            assert "research only" in card.data
            assert card.command.startswith(f"whylike train {card.expert}")


def test_the_documents_name_no_others():
    there = {folder.name for folder in (*LIVE, *OPTIONAL)}
    measured = (ROOT / "MEASURED.md").read_text(encoding="utf-8")
    assert re.search(r"Predictor that comes along is ([\w-]+)\.", measured)[1] in there  # type: ignore[index]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    card = readme.split("```text\n")[1].split("```")[0]
    assert set(re.findall(r"adapter (\w+-[0-9a-f]{8})", card)) == {folder.name for folder in LIVE}
    for version in re.findall(r"(?:--adapter|show|promote) (\w+-[0-9a-f]{8})`", measured + readme):
        assert version in there
