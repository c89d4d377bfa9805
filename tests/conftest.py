"""What all tests share: the same everywhere, whatever the machine has set, and never a word to the network."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from whylike.records import Expert
from whylike.settings import Settings

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


@dataclass(frozen=True)
class RealVllm:
    """A vLLM server on the packaged base model, with an adapter for each of three experts."""

    settings: Settings
    adapters: dict[Expert, Path]

    def up(self) -> int:
        """Start it where it does not run; its process id.

        In fp32, where what is computed in company differs from what is computed alone by 1e-6 and no more.
        """
        from whylike.adapters import server, serving  # noqa: PLC0415 - as below

        return server.up(self.settings, serving.launch(self.settings, self.adapters, dtype="float32", kv_mib=512)).pid


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealVllm]:
    """The real server, one for all tests; whoever kills it starts it again."""
    # Not above: seconds, which tests of other parts need not wait.
    import torch  # noqa: PLC0415
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    from whylike.adapters import server, serving  # noqa: PLC0415
    from whylike.adapters.engines.model import packaged_folder  # noqa: PLC0415

    if not serving.installed(Settings().vllm_env):
        pytest.skip("there is no vLLM environment; `make vllm-env` makes it")
    base = packaged_folder(Settings().cache)
    adapters = {}
    for seed, expert in enumerate((Expert.SUMMARIZER, Expert.REASONER, Expert.PREDICTOR)):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(model, config)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.02)
        adapters[expert] = tmp_path_factory.mktemp(expert.value)
        model.save_pretrained(adapters[expert])
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    settings = Settings(cache=tmp_path_factory.mktemp("vllm"), model=str(base), vllm_url=url, engine="vllm")
    # The server outlives whoever started it, so this process must not end without a word.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    real = RealVllm(settings, adapters)
    try:
        real.up()
        yield real
    finally:
        server.down(settings)
        signal.signal(signal.SIGTERM, before)
