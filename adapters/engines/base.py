"""What every engine does: write text as a named expert, and weigh labels at the next position.

An engine gets whole requests and may batch them as it likes; the answer to each must not depend on the others.
Requests are plain records, so that they can be sent to another process or another machine unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from pydantic import Field, model_validator

from whylike.records import Expert, Record


class Adapter(Record):
    """A LoRA adapter as engines take it. What a version names never changes."""

    version: str
    """What its answers are signed with: `<expert>-<first 8 hex digits of its hash>`."""
    folder: Path
    """Holds `adapter_config.json` and `adapter_model.safetensors`."""


class Message(Record):
    """One turn of a prompt. Its content is data: special tokens of the chat template in it are read as plain text."""

    role: Literal["system", "user", "assistant"]
    content: str


class Prompt(Record):
    """What the model is shown: finished turns, then the beginning of its own answer (`prefill`), which it continues."""

    messages: tuple[Message, ...] = Field(min_length=1)
    prefill: str = ""
    shared: int = 0
    """How many leading messages are the same in every prompt of this kind; an engine may keep them computed."""


class Writing(Record):
    """Asks an expert for text."""

    expert: Expert
    prompt: Prompt
    max_tokens: int = Field(gt=0)
    grammar: str | None = None
    """A Lark grammar (llguidance's dialect) that the whole text after `prefill` must match; None leaves it free."""
    temperature: float = Field(default=0.0, ge=0)
    """0 decodes greedily; above it samples, reproducibly for one `seed`."""
    seed: int = 0
    stop: tuple[str, ...] = ()
    """The text ends before the first of these."""


class Written(Record):
    """What an expert wrote, without `prefill` and without the stop string."""

    text: str
    adapter_version: str
    finish: Literal["stop", "length"]
    prompt_tokens: int
    tokens: int


class Weighing(Record):
    """Asks an expert how likely each label is at the position after the prompt and its `prefill`."""

    expert: Expert
    prompt: Prompt
    labels: tuple[str, ...] = Field(min_length=2)
    """Each must be a single token of the engine's tokenizer where it stands."""

    @model_validator(mode="after")
    def _labels_differ(self) -> Weighing:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels must differ from one another, not {self.labels}")
        return self


class Weighed(Record):
    """A probability for each label: a softmax over the labels' logits only (method: the Predictor)."""

    probabilities: tuple[float, ...]
    """In the order of the labels; they sum to 1."""
    adapter_version: str


OnText = Callable[[str], None]
"""Called with each new piece of text as it is written."""


class Engine(Protocol):
    """Runs the experts. Safe to call from several threads at once; `close` ends it."""

    @property
    def name(self) -> str:
        """What an answer calls this engine: `scripted`, `local`, `vllm`."""
        ...

    def adapter_version(self, expert: Expert) -> str:
        """The version that answers for `expert` now; `base:...` where no adapter has been trained."""
        ...

    def adopt(self, adapters: Mapping[Expert, Adapter]) -> None:
        """Have these adapters answer, and the base model for experts that are not among them.

        Requests that begin after it returns are answered by them. Those under way are finished by what they began
        with, which is then unloaded; all requests of one call are answered by the same versions.

        Raises `EngineError` where an adapter does not load; the engine then goes on as it was.
        """
        ...

    def write(self, requests: Sequence[Writing]) -> list[Written]:
        """One text for each request, in order. Raises `EngineError`."""
        ...

    def stream(self, request: Writing, on_text: OnText) -> Written:
        """As `write` for one request, telling `on_text` each piece as it comes; the pieces join to the text."""
        ...

    def weigh(self, requests: Sequence[Weighing]) -> list[Weighed]:
        """The label probabilities for each request, in order. Raises `EngineError`."""
        ...

    def close(self) -> None:
        """Give back threads, memory and connections; a second call does nothing."""
        ...
