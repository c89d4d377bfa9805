"""Prompts as files, and the one renderer that fills them.

A prompt file (`prompts/NAME.yaml`) holds `system`, `examples` (pairs of `user` and `assistant`), `user` and `prefill`.
`$slots` are filled in a single pass, so nothing in the data is ever read as a slot, and each value becomes one line
without control characters, so that no review can open a section of its own. The engine keeps the chat template's
special tokens out of the contents (`adapters.engines.rendering`).
"""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib import resources
from string import Template

import yaml
from pydantic import Field

from whylike.adapters.engines.base import Message, Prompt
from whylike.records import Record


class Example(Record):
    """One worked example of a few-shot prompt."""

    user: str
    assistant: str


class PromptFile(Record):
    """A prompt as it stands in its file."""

    system: str
    examples: tuple[Example, ...] = ()
    user: str
    prefill: str = ""
    labels: tuple[str, ...] = Field(default=(), description="What the model chooses among, where it does")
    neutral: tuple[str, ...] = Field(default=(), description="Inputs that say nothing, to see where the model leans")


@cache
def prompt_file(name: str) -> PromptFile:
    """The prompt file `prompts/NAME.yaml`."""
    text = resources.files("whylike.agents.prompts").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return PromptFile.model_validate(yaml.safe_load(text))


def one_line(text: str, words: int | None = None) -> str:
    """`text` on one line without control characters, at most `words` words of it."""
    kept = "".join(" " if unicodedata.category(char) in {"Cc", "Zl", "Zp"} else char for char in text)
    parts = kept.split(maxsplit=words) if words else kept.split()
    return " ".join(parts[:words])


def inert(text: str) -> str:
    """`text` on one line and without the arrow that stands before an answer in the prompts' lists."""
    return one_line(text).replace("->", ",").replace("=>", ",")


def render(name: str, **data: str) -> Prompt:
    """Fill the prompt file `name` with `data`, one value a slot.

    Raises:
        KeyError: the file has a slot that `data` does not fill.
    """
    file = prompt_file(name)
    values = {slot: inert(value) for slot, value in data.items()}
    messages = [Message(role="system", content=file.system.strip())]
    for example in file.examples:
        messages += [
            Message(role="user", content=example.user.strip()),
            Message(role="assistant", content=example.assistant.strip()),
        ]
    user = Template(file.user.strip())
    shared = len(messages) + (not user.get_identifiers())
    messages.append(Message(role="user", content=user.substitute(values)))
    return Prompt(messages=tuple(messages), prefill=Template(file.prefill).substitute(values), shared=shared)
