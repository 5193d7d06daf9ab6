from __future__ import annotations

import json
import subprocess
import sys

PROBE = """
import json, sys
import torch
before = set(sys.modules)
from fipo import fipo_loss
print(json.dumps([sorted(before), sorted(set(sys.modules) - before)]))
"""
HEAVY = {"transformers", "trl", "accelerate", "datasets", "peft", "pandas", "matplotlib", "pyarrow", "scipy", "sympy"}
LIGHT = {"typer", "click", "rich", "yaml", "safetensors", "math_verify"}


def test_importing_the_package_loads_torch_and_nothing_else() -> None:
    run = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, timeout=120)
    before, added = json.loads(run.stdout)
    assert "torch" in before
    packages = {name.partition(".")[0] for name in added}
    assert not packages & (HEAVY | LIGHT)
    assert packages - set(sys.stdlib_module_names) == {"fipo"}
    own = {name for name in added if name.startswith("fipo.")}
    assert "fipo.objective.loss" in own
    assert {name for name in own if not name.startswith("fipo.objective")} == set()


def test_the_package_alone_does_not_wait_for_torch() -> None:
    probe = "import sys, fipo; assert 'torch' not in sys.modules; assert 'future_kl' in dir(fipo); fipo.future_kl"
    subprocess.run([sys.executable, "-c", probe], check=True, timeout=120)
