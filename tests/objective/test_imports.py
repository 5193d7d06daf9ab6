from __future__ import annotations

import json
import subprocess
import sys

PROBE = """
import json, sys
import torch
before = set(sys.modules)
import fipo
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
