"""The `fipo` command in a process of its own, as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def start(*arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"}
    environment |= variables
    return subprocess.Popen(
        [sys.executable, "-m", "fipo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=cwd,
    )


def fipo(*arguments: str, cwd: Path | None = None, **variables: str) -> tuple[int, str, str]:
    process = start(*arguments, cwd=cwd, **variables)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err
