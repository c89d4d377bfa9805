"""The doctor: says what is there, what is missing and how to mend it, without making or loading anything."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import whylike.doctor
from whylike.adapters.engines import model
from whylike.doctor import Check, Diagnosis, Setting, examine, report
from whylike.errors import UsageError
from whylike.memory.connection import FILE
from whylike.memory.store import Store
from whylike.records import Review, ReviewSummary
from whylike.settings import PACKAGED_MODEL, Settings, load

pytestmark = pytest.mark.usefixtures("workplace")


def check(name: str, **flags: Any) -> Check:
    (found,) = (check for check in examine(flags).checks if check.name == name)
    return found


def origins(**flags: Any) -> dict[str, tuple[Any, str]]:
    return {setting.name: (setting.value, setting.origin) for setting in examine(flags).settings}


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The versions of the lock, for a test to change."""
    versions = {"pydantic": "1.0", "torch": "2.13.0"}
    monkeypatch.setattr(whylike.doctor, "_locked", lambda: iter(versions.items()))
    return versions


def test_a_whole_installation_is_well(workplace: Path) -> None:
    diagnosis = examine({})
    assert diagnosis.ok, diagnosis
    assert not (workplace / "store").exists()


def test_every_setting_is_there_with_its_origin(workplace: Path) -> None:
    (workplace / "whylike.toml").write_text("history = 5\n")
    shown = origins(batch=7)
    assert set(shown) == set(Settings.model_fields)
    assert shown["store"] == (str(workplace / "store"), "WHYLIKE_STORE")
    assert shown["history"] == (5, "whylike.toml")
    assert shown["batch"] == (7, "--batch")
    assert shown["engine"] == ("local", "default")


def test_passwords_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHYLIKE_DATABASE_URL", "postgresql+psycopg://ann:se:cret@localhost:1/reviews")
    monkeypatch.setenv("WHYLIKE_CHROMA_URL", "http://ann:secret@localhost:8000")
    diagnosis = examine({})
    assert "cret" not in diagnosis.model_dump_json()
    assert origins()["database_url"][0] == "postgresql+psycopg://ann:***@localhost:1/reviews"


def test_a_setting_that_is_not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHYLIKE_BATCH", "many")
    diagnosis = examine({})
    assert not diagnosis.ok
    assert origins()["batch"] == ("many", "WHYLIKE_BATCH")
    assert "batch" in check("settings").found


def test_a_variable_that_sets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHYLIKE_TEACHER_KEY", "secret")
    assert examine({}).ok
    monkeypatch.setenv("WHYLIKE_TEACHER_URL", "http://127.0.0.1:8012/v1")
    diagnosis = examine({})
    assert not diagnosis.ok
    assert "WHYLIKE_TEACHER_BASE_URL" in check("settings").found


def test_a_settings_file_that_cannot_be_read(workplace: Path) -> None:
    (workplace / "whylike.toml").write_text("history = = 5\n")
    with pytest.raises(UsageError, match=r"whylike\.toml"):
        examine({})


def test_packages_of_other_versions_are_a_note(locked: dict[str, str]) -> None:
    found = check("packages")
    assert found.status == "note"
    assert "1 of 2 packages have other versions than those tested: pydantic" in found.found


def test_missing_packages_are_a_problem_and_stop_what_needs_them(locked: dict[str, str]) -> None:
    locked |= {f"no-such-package-{n}": "1.0" for n in range(7)}
    found = check("packages")
    assert (found.status, found.mend) == ("problem", "run `make setup`")
    assert "no-such-package-4 and 2 more" in found.found
    diagnosis = examine({})
    assert not diagnosis.ok
    assert not {"store", "embedder"} & {check.name for check in diagnosis.checks}


def test_the_lock_is_read() -> None:
    locked = dict(whylike.doctor._locked())
    assert locked["torch"].startswith("2.")
    assert len(locked) > 50


def test_the_base_model(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "converts it, once" in check("base model").found
    assert check("base model", engine="scripted").status == "note"
    assert "hub" in check("base model", model="someone/model").found
    folder = workplace / "model"
    folder.mkdir()
    assert check("base model", model=str(folder)).status == "problem"
    (folder / "config.json").write_text("{}")
    assert check("base model", model=str(folder)).status == "ok"
    monkeypatch.setattr(whylike.doctor.importlib.util, "find_spec", lambda name: None)
    assert (check("base model").status, check("embedder").status) == ("problem", "problem")


def test_it_knows_where_the_converted_model_is(workplace: Path) -> None:
    assert whylike.doctor.MODEL_PACKAGE == model.PACKAGE
    (workplace / "cache").mkdir()
    version = whylike.doctor.importlib.metadata.version(model.PACKAGE)
    folder = workplace / "cache" / f"{PACKAGED_MODEL}-{version}"
    folder.mkdir()
    assert model.packaged_folder(workplace / "cache") == folder
    assert f"converted in {folder}" in check("base model").found


@pytest.mark.parametrize(
    ("build", "gpu", "device", "status", "found"),
    [
        ("2.13.0+cpu", "", "auto", "ok", "CPU (torch 2.13.0+cpu)"),
        ("2.13.0+cpu", "", "cuda", "problem", "device is cuda but torch 2.13.0+cpu finds no GPU"),
        ("2.13.0", "", "auto", "ok", "CPU (torch 2.13.0)"),
        ("2.13.0", "H1", "auto", "ok", "GPU: H1 (torch 2.13.0)"),
        ("2.13.0", "H1", "cuda", "ok", "GPU: H1 (torch 2.13.0)"),
        ("2.13.0", "H1", "cpu", "ok", "CPU (torch 2.13.0); the GPU H1 is not used, because device is cpu"),
    ],
)
def test_the_device(
    monkeypatch: pytest.MonkeyPatch, *, build: str, gpu: str, device: str, status: str, found: str
) -> None:
    monkeypatch.setattr(whylike.doctor.importlib.metadata, "version", lambda name: build)
    monkeypatch.setattr(whylike.doctor, "_gpu", lambda: gpu)
    told = whylike.doctor._device(load({"device": device}))
    assert (told.status, told.found, bool(told.mend)) == (status, found, status == "problem")


def test_the_store_and_its_index() -> None:
    assert check("store").status == "note"
    with Store.open(load()) as store:
        review = Review(review_id="r1", user_id="ann", item_id="i1", rating=4, text="Good.", timestamp=1)
        store.add_reviews([review])
        assert check("index").status == "ok"
        store.add_summaries([ReviewSummary(review_id="r1", likes=("slow",), adapter_version="base:tiny")])
    found = check("store")
    assert found.status == "ok"
    assert "1 users, 1 items, 1 reviews, 1 summaries, 0 profiles; scale 1:5" in found.found
    waiting = check("index")
    assert waiting.status == "note"
    assert waiting.found == "changes that have not reached it yet: 1"


def test_a_damaged_store_is_a_problem(workplace: Path) -> None:
    (workplace / "store").mkdir()
    (workplace / "store" / FILE).write_text("this is no database" * 100)
    found = check("store")
    assert found.status == "problem"
    assert "not one of whylike's" in found.found


def test_vllm_is_missed_only_where_the_experts_run_on_it(workplace: Path) -> None:
    flags = {"vllm_env": workplace / "env", "vllm_url": "http://127.0.0.1:1"}
    assert (check("vllm", **flags).status, check("vllm server", **flags).status) == ("note", "note")
    found = check("vllm", engine="vllm", **flags)
    assert (found.status, found.found) == ("problem", f"there is no environment in {workplace / 'env'}")
    assert "`make vllm-env`" in found.mend
    found = check("vllm server", engine="vllm", **flags)
    assert (found.status, found.found) == ("problem", "none answers at http://127.0.0.1:1")
    assert "`whylike vllm up`" in found.mend
    elsewhere = {"vllm_env": workplace / "env", "vllm_url": "http://0.0.0.0:1"}
    assert check("vllm", engine="vllm", **elsewhere).status == "note"


def test_a_full_disk_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whylike.doctor, "NEEDED_MIB", 10**9)
    found = check("store's disk")
    assert found.status == "problem"
    assert "make room" in found.mend


def test_the_report_names_each_problem_with_its_mend() -> None:
    diagnosis = Diagnosis(
        version="1",
        ok=False,
        settings=[],
        checks=[
            Check(name="one", status="ok", found="fine"),
            Check(name="two", status="problem", found="gone\x1b[31m [red]", mend="get it back"),
        ],
    )
    file = io.StringIO()
    Console(file=file, width=80).print(report(diagnosis))
    lines = file.getvalue().splitlines()
    assert "  problem  two  gone [red]" in lines
    assert "                get it back" in lines
    assert lines[-1] == "1 thing needs mending."


def test_nothing_is_cut_on_a_narrow_terminal() -> None:
    path = f"/home/ann/{'deep/' * 20}model"
    checks = [Check(name="base model", status="ok", found=f"the folder {path}")]
    settings = [Setting(name="model", value=path, origin="")]
    file = io.StringIO()
    Console(file=file, width=50).print(report(Diagnosis(version="1", ok=True, settings=settings, checks=checks)))
    shown = file.getvalue()
    assert "…" not in shown
    assert "".join(shown.split()).count("deep/") == 40


def test_the_command(workplace: Path) -> None:
    command = [sys.executable, "-c", "from whylike.cli import main; main()", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert Diagnosis.model_validate_json(done.stdout).ok
    broken = subprocess.run([*command, "--store", "/dev/null"], capture_output=True, text=True, check=False)
    assert (broken.returncode, json.loads(broken.stdout)["ok"], broken.stderr) == (1, False, "")
    assert "/dev/null is not a folder that can be written" in broken.stdout
