"""vLLM without a GPU as rollout engine: what must be switched off so that new weights reach it."""

from __future__ import annotations

import os


def prepare_vllm_on_cpu(*, cache_gigabytes: int = 1) -> None:
    """Let vLLM's CPU build accept weight updates; call before the engine is made.

    Its oneDNN and SGL kernels repack linear weights when the model is loaded. The packed parameters have no
    `weight_loader` any more, so that TRL's weight sync fails on them.

    Args:
        cache_gigabytes: size of the KV cache unless VLLM_CPU_KVCACHE_SPACE says otherwise.
    """
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(cache_gigabytes))
    import vllm._custom_ops
    import vllm.model_executor.layers.utils

    vllm._custom_ops._supports_onednn = False
    vllm.model_executor.layers.utils.check_cpu_sgl_kernel = lambda *args, **kwargs: False
