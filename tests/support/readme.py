"""The README's text and the commands in it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(about: str = "") -> list[list[str]]:
    """The arguments of every `whylike` command in the README's blocks, in order: all, or those of one group."""
    lines = [line for block in re.findall(r"```\w*\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
    found = [shlex.split(line.removeprefix("$ "), comments=True)[1:] for line in lines if _COMMAND.match(line)]
    return [arguments for arguments in found if not about or arguments[0] == about]


_COMMAND = re.compile(r"(?:\$ )?whylike ")
