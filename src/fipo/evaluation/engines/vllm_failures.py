"""Failures of vLLM as one line: what went wrong first, and what to do about it."""

from __future__ import annotations

import re

from fipo.evaluation.engines.child_log import ChildLog

_IN_A_CHILD = re.compile(r"root cause|stack trace")
_OF_PYDANTIC = re.compile(r"Value error, (.*?)(?: \[type=|$)")
_BALLAST = re.compile(r" Supported architectures| See https?://|, please check the stack trace")
_MEMORY = re.compile(r"memory|KV cache", re.IGNORECASE)


def cause(error: BaseException, log: ChildLog) -> str:
    """What went wrong first, shortened: in a process of vLLM where `error` says only that one failed, else `error`."""
    message = " ".join(str(error).split())
    if _IN_A_CHILD.search(message):
        return shorten(log.cause() or f"{message} in the log above")
    found = _OF_PYDANTIC.search(message)
    return shorten(found[1] if found else message or type(error).__name__)


def shorten(message: object) -> str:
    """`message` on one line, without lists and links, at most 300 characters."""
    return _BALLAST.split(" ".join(str(message).split()))[0].rstrip(". ")[:300]


def why_not(version: str, model: str, reason: str) -> str:
    """Why vLLM does not load `model`, and the fix.

    Args:
        version: of vLLM.
        model: folder or hub name.
        reason: from `cause`.
    """
    if "Cannot find any model weights" in reason:
        return f"{model!r} holds no weights as *.safetensors, the only format that is read; convert them first"
    if "architectures" in reason:
        return f"vLLM {version} does not support {model!r} ({reason}); use --engine transformers"
    if _MEMORY.search(reason):
        return (
            f"vLLM {version} has too little memory for {model!r} ({reason}); free the GPU, change --gpu-memory, or "
            "split the model over more GPUs (--tensor-parallel)"
        )
    return (
        f"vLLM {version} could not load {model!r} ({reason}); use --engine transformers, "
        "or see the whole log with VLLM_LOGGING_LEVEL=INFO"
    )
