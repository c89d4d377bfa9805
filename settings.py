"""Settings: from flags, then `WHYLIKE_*` variables, then `whylike.toml` in the working folder, then the defaults."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from rapidfuzz import process

from whylike.errors import UsageError
from whylike.records import ItemProfile

PACKAGED_MODEL = "smollm2-135m-instruct"
"""The base model that comes as a package, so that whylike runs without a download."""

TOML = Path("whylike.toml")
PREFIX = "WHYLIKE_"
TEACHER_KEY = f"{PREFIX}TEACHER_KEY"
"""The variable with the teacher's key; no setting, so that it is never shown."""

_PASSWORD = re.compile(r"((?:^|://)[^:/@]*:)(?!//).*@|(?<=[?&])([^=&]*pass[^=&]*=)[^&]*", re.IGNORECASE | re.DOTALL)
"""A password in a URL, with what is before it: before the last @, whatever is in it, or among the options."""


class Settings(BaseSettings):
    """Everything that can be set; `whylike doctor` shows each value and where it came from."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, toml_file=TOML, extra="forbid", frozen=True)

    store: Path = Field(default_factory=lambda: Path.home() / ".local" / "share" / "whylike")
    """Folder of the store: the SQLite file, the Chroma index, the rejects."""
    cache: Path = Field(default_factory=lambda: Path.home() / ".cache" / "whylike")
    """Folder for what can be made again: the converted base model."""
    database_url: str | None = None
    """SQLAlchemy URL of the truth; the store's own SQLite file where it is not set."""
    chroma_url: str | None = None
    """http(s)://host:port of a Chroma server; the embedded index in the store where it is not set."""
    engine: Literal["local", "reference", "vllm", "scripted"] = "local"
    """What runs the experts; reference is transformers and PEFT, which local uses on a GPU only."""
    model: str = PACKAGED_MODEL
    """Base model: the packaged one, a folder, or a hub id."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the local engine runs; auto takes a GPU when there is one."""
    batch: int = Field(default=32, ge=1, le=256)
    """Most requests that the local engine puts in one batch."""
    max_rank: int = Field(default=128, ge=1, le=512)
    """Highest rank that an adapter may have."""
    vllm_url: str = Field(default="http://127.0.0.1:8311", pattern=r"^https?://[^/]+/?$")
    """http(s)://host:port of the vLLM server; `whylike vllm up` starts one where the host is this machine."""
    vllm_env: Path = Path(__file__).parent / ".venv-vllm"
    """Folder of the server's own Python environment, which `make vllm-env` makes."""
    vllm_deadline: float = Field(default=120, gt=0)
    """Seconds of silence of the vLLM server after which a request fails."""
    vllm_concurrency: int = Field(default=16, ge=1, le=1024)
    """Most requests to the vLLM server that are under way at once."""
    teacher_base_url: str | None = Field(default=None, pattern=r"^https?://\S+$")
    """Where an OpenAI-compatible teacher answers, for example http://127.0.0.1:8012/v1."""
    teacher_model: str | None = None
    """The teacher's model, as it calls it."""
    teacher_key_file: Path | None = None
    """File with the teacher's key and nothing else; where it is not set, the variable WHYLIKE_TEACHER_KEY."""
    teacher_calls: int = Field(default=1_000, ge=0)
    """Most calls to the teacher on a day, which begins at midnight UTC."""
    teacher_tokens: int = Field(default=1_000_000, ge=0)
    """Most tokens of these calls on a day, those that are sent and those that are answered."""
    teacher_price_in: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """What a million tokens cost that are sent, in whatever money; where no price is set, no cost is told."""
    teacher_price_out: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """What a million tokens cost that are answered."""
    teacher_concurrency: int = Field(default=4, ge=1, le=64)
    """Most calls of `whylike annotate` that are under way at once."""
    teacher_live: bool = False
    """Whether the teacher may be asked while a user waits, where the student is unsure."""
    teacher_patience: float = Field(default=20, gt=0, le=600)
    """Most seconds that an answer to a user waits for the teacher, all in all."""
    history: int = Field(default=10, ge=1, le=100)
    """Newest reviews of either side that an answer may rest on."""
    item_profile: ItemProfile = ItemProfile.ALL
    """Which reviews of the item it rests on: the newest of all, the most helpful, those by the user's neighbours."""

    learn_new: int = Field(default=300, ge=1)
    """Most new examples that one run of `whylike learn` learns from, the newest ones."""
    learn_replay: float = Field(default=0.5, ge=0, le=10)
    """Old examples that are mixed in for each new one."""
    learn_of_user: int = Field(default=10, ge=1)
    """Most new examples of one user in a run."""
    learn_of_text: int = Field(default=3, ge=1)
    """Most new examples with one and the same text in a run."""
    learn_frozen: int = Field(default=150, ge=20)
    """Examples that every run is judged by and none learns from, chosen by the first run of an expert."""
    learn_margin: float = Field(default=0.02, ge=0, le=1)
    """How much worse a new adapter may be with 95% certainty, in shares of the rating scale or of the highest F1."""
    learn_poll: float = Field(default=30, gt=0)
    """Seconds between two looks of `whylike learn --watch` at what has come in."""

    @field_validator("store", "cache", "vllm_env", "teacher_key_file")
    @classmethod
    def _at_home(cls, path: Path | None) -> Path | None:
        return path.expanduser() if path else None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags before variables before the file; no .env file and no secrets folder."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load(flags: dict[str, Any] | None = None) -> Settings:
    """Read the settings; `flags` holds what the command line gave.

    Raises `UsageError` that names the setting, what it was and what is allowed, and for a variable that sets nothing.
    """
    settable = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    for variable in sorted(os.environ):
        if variable.upper().startswith(PREFIX) and variable != TEACHER_KEY and variable.upper() not in settable:
            near = process.extractOne(variable.upper(), [TEACHER_KEY, *settable])[0]
            raise UsageError(f"the variable {variable} is no setting; did you mean {near}? Rename it or unset it")
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            near = process.extractOne(name.lower().removeprefix(PREFIX.lower()), list(Settings.model_fields))[0]
            raise UsageError(
                f"{origin(name, given)} sets {name}, which is no setting; did you mean {near}? Rename it or take it out"
            ) from None
        raise UsageError(
            f"setting {name} = {hidden(repr(problem['input']))} from {origin(name, given)} is not allowed: "
            f"{problem['msg'][0].lower()}{problem['msg'][1:]}; "
            f"mend it there, or run `whylike doctor` to see every setting"
        ) from None
    except (ValueError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{TOML} cannot be read: {why}; mend it or move it away") from None


def hidden(url: str) -> str:
    """The URL, or what was meant to be one, with *** in place of its passwords."""
    return _PASSWORD.sub(lambda found: f"{found[1]}***@" if found[1] else f"{found[2]}***", url)


def origin(name: str, flags: dict[str, Any]) -> str:
    """Where the value of setting `name` comes from: a flag, a variable, the file or the default."""
    if flags.get(name) is not None:
        return f"--{name.replace('_', '-')}"
    if name in EnvSettingsSource(Settings)():
        return f"{PREFIX}{name.upper()}"
    if name in TomlConfigSettingsSource(Settings)():
        return str(TOML)
    return "default"
