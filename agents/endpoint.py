"""A teacher's endpoint: one question to an OpenAI-compatible chat server, one answer within a time."""

from __future__ import annotations

import asyncio
import os
import unicodedata
from collections.abc import Iterable
from concurrent.futures import Future
from http import HTTPStatus
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pydantic import BaseModel, Field, ValidationError

from whylike.adapters.engines import refusals
from whylike.adapters.engines.base import Prompt
from whylike.adapters.engines.vllm_client import loopback
from whylike.agents.prompting import one_line
from whylike.errors import EngineError, UsageError
from whylike.memory.spending import Spent
from whylike.settings import TEACHER_KEY, Settings, hidden

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

MAX_TOKENS = 400
"""Tokens of an answer at most."""
LONGEST = 10 * MAX_TOKENS
"""Characters of an answer at most; one that is longer was not held to its tokens."""
LARGEST = 2**18
"""Bytes of a response at most."""
FRAME = 16
"""Tokens of what stands around a message, at most."""
COUNTED = 10**9
"""Tokens that a server may say it used; more is no count."""
GRACE = 1.0
"""Seconds that a call may take to be broken off once its time is over."""


class NotAnsweredError(EngineError):
    """The teacher did not answer, or not as it should."""

    def __init__(self, message: str, brief: str, *, again: bool, took: bool, after: float = 0.0) -> None:
        """What went wrong.

        Args:
            message: What the user is told.
            brief: The same in a few words.
            again: Whether it may be gone another time.
            took: Whether the server may have worked on it, and so ask to be paid.
            after: Seconds that the server asks to wait.
        """
        super().__init__(message)
        self.brief = brief
        self.again = again
        self.took = took
        self.after = after


class Answer(NamedTuple):
    """What came back."""

    text: str | None
    """None where it was cut off."""
    took: Spent


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: Any = None


class Endpoint:
    """Where a teacher answers. Safe to use from several threads."""

    def __init__(self, url: str, model: str, key: str) -> None:
        """`url` as `teacher_base_url`."""
        self.model = model
        self._url = url.rstrip("/")
        self._key = key
        self._direct = loopback(url)  # no proxy stands between a machine and itself

    @classmethod
    def open(cls, settings: Settings) -> Endpoint:
        """The teacher that the settings name. Raises `UsageError` where they name none, or its key cannot be read."""
        if not settings.teacher_base_url or not settings.teacher_model:
            raise UsageError(
                "no teacher is set; set teacher_base_url (WHYLIKE_TEACHER_BASE_URL) to where an OpenAI-compatible one "
                "answers and teacher_model (WHYLIKE_TEACHER_MODEL) to what it calls its model"
            )
        return cls(settings.teacher_base_url, settings.teacher_model, _key(settings))

    @staticmethod
    def most(prompt: Prompt) -> Spent:
        """What asking this takes at most: no tokenizer makes more tokens of a text than it has bytes."""
        sent = sum(len(turn.content.encode()) + FRAME for turn in prompt.messages)
        return Spent(calls=1, tokens_in=sent, tokens_out=MAX_TOKENS)

    def ask(self, prompt: Prompt, *, temperature: float, seconds: float) -> Answer:
        """The answer, with what it took: as the server says, else at most.

        All of it, from the name of the host to the last byte, is over within `seconds`.

        Raises:
            NotAnsweredError: There is none that can be used.
        """
        found: Future[Answer] = Future()

        def run() -> None:
            try:
                found.set_result(asyncio.run(self._ask(prompt, temperature, seconds)))
            except BaseException as error:
                found.set_exception(error)

        # In a thread, as the caller may have an event loop of its own; looking up a host cannot be broken off.
        Thread(target=run, name="teacher", daemon=True).start()
        try:
            return found.result(seconds + GRACE)
        except TimeoutError:
            raise self._failed(f"no answer within {seconds:.3g} s", again=True, took=True) from None

    async def _ask(self, prompt: Prompt, temperature: float, seconds: float) -> Answer:
        import httpx2  # noqa: PLC0415 - as below
        import openai  # noqa: PLC0415 - a second

        content = b""
        try:
            async with (
                asyncio.timeout(seconds),
                openai.DefaultAsyncHttpxClient(
                    timeout=None, trust_env=not self._direct, follow_redirects=False
                ) as carrier,
                openai.AsyncOpenAI(
                    base_url=self._url, api_key=self._key, max_retries=0, timeout=None, http_client=carrier
                ) as client,
                # As it comes, since nobody knows how much does.
                client.chat.completions.with_streaming_response.create(
                    model=self.model, messages=_turns(prompt), temperature=temperature, max_tokens=MAX_TOKENS
                ) as response,
            ):
                async for piece in response.iter_bytes():
                    content += piece
                    if len(content) > LARGEST:
                        raise self._strange("it answers without end")
        except openai.APIStatusError as error:
            status = error.status_code
            busy, broken = status == HTTPStatus.TOO_MANY_REQUESTS, status >= HTTPStatus.INTERNAL_SERVER_ERROR
            raise self._failed(
                f"{status} {refusals.message(error.response.content)}",
                again=busy or broken,
                took=broken,
                after=refusals.pause(error.response.headers),
            ) from None
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            reached = not isinstance(cause, httpx2.ConnectError)
            raise self._failed(refusals.said(cause), again=True, took=reached) from None
        return self._read(content, self.most(prompt))

    def _read(self, content: bytes, most: Spent) -> Answer:
        try:
            completion = _Completion.model_validate_json(content)
        except ValidationError:
            raise self._strange("it sent no chat completion") from None
        choice = completion.choices[0]
        text = choice.message.content or ""
        if len(text) > LONGEST:
            raise self._strange(f"it wrote {len(text):,} characters, where {MAX_TOKENS} tokens were asked for")
        took = Spent(
            calls=1,
            tokens_in=_counted(completion.usage, "prompt_tokens", most.tokens_in),
            tokens_out=_counted(completion.usage, "completion_tokens", len(text.encode())),
        )
        return Answer(None if choice.finish_reason == "length" else _plain(text), took)

    def _failed(self, why: str, *, again: bool, took: bool, after: float = 0.0) -> NotAnsweredError:
        why = self._harmless(why)
        return NotAnsweredError(
            f"the teacher {self.model} at {hidden(self._url)} did not answer ({why}); look whether it runs, and at "
            f"teacher_base_url, teacher_model and the key",
            why,
            again=again,
            took=took,
            after=after,
        )

    def _strange(self, how: str) -> NotAnsweredError:
        return NotAnsweredError(
            f"what answers at {hidden(self._url)} is not like an OpenAI-compatible server ({how}); set "
            f"teacher_base_url to one, which often ends with /v1",
            how,
            again=False,
            took=True,
        )

    def _harmless(self, said: str) -> str:
        """What a server says, in one line and without the key, which some repeat."""
        return one_line(said.replace(self._key, "***"))


def _turns(prompt: Prompt) -> Iterable[ChatCompletionMessageParam]:
    """The turns of a prompt as the client takes them."""
    return cast("Iterable[ChatCompletionMessageParam]", [turn.model_dump() for turn in prompt.messages])


def _counted(usage: object, name: str, otherwise: int) -> int:
    """A count of tokens as the server has it, if it has one."""
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if type(count) is int and 0 <= count <= COUNTED else otherwise


def _plain(text: str) -> str:
    """A text without control characters but for the ends of lines."""
    return "".join(one if one == "\n" or unicodedata.category(one) != "Cc" else " " for one in text)


def _key(settings: Settings) -> str:
    """The teacher's key; servers that want none are sent a word."""
    if settings.teacher_key_file is None:
        key = os.environ.get(TEACHER_KEY, "").strip()
    else:
        try:
            key = settings.teacher_key_file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise UsageError(
                f"teacher_key_file {settings.teacher_key_file} cannot be read ({error}); give a file with the key, or "
                f"set {TEACHER_KEY}"
            ) from None
    if not key.isascii() or not key.isprintable():
        raise UsageError(
            f"the teacher's key has characters that no header can hold; mend teacher_key_file or {TEACHER_KEY}, which "
            "hold the key alone"
        )
    return key or "none"
