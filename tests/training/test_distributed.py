"""Two processes on the CPU (gloo) against one: the same prompts, responses, gradient and metrics."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fipo.runs import RunFolder

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launch(processes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
    command += ["--master_port", str(free_port()), *arguments]
    path = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=ROOT, check=False)


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    """With one update per rollout the mini-batch is the whole batch, so its order must not matter."""
    for processes in (1, 2):
        out = tmp_path / str(processes)
        done = launch(processes, "-m", "tests.training.two_processes", str(out), "dapo", "1")
        assert done.returncode == 0, done.stderr[-2000:]
        assert RunFolder(out).read_json("environment.json")["processes"] == processes
    alone, together = (load_file(tmp_path / name / "trained.safetensors") for name in ("1", "2"))
    start = load_file_of_start()
    moved = max((alone[name] - start[name]).abs().max().item() for name in alone)
    assert moved > 1e-3
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=0, atol=1e-5)
    one, two = (RunFolder(tmp_path / name).metrics()[0] for name in ("1", "2"))
    assert one["dynamic_sampling/generation_batches"] >= 2
    assert one["dynamic_sampling/uniform_groups"] >= 1
    for key, value in one.items():
        if not key.startswith(("timing_s/", "perf/sampled_tokens_per")) and not key.endswith(QUANTILES):
            assert two[key] == pytest.approx(value, rel=1e-4, abs=1e-5), key


# A quantile over several micro-batches is the mean of theirs, which depends on the split by definition.
QUANTILES = ("p25", "median", "p75", "p995", "p999", "future_kl_std")


def load_file_of_start() -> dict[str, torch.Tensor]:
    from fipo.tasks.arithmetic import build_tokenizer
    from tests.training.conftest import make_tiny_model

    return dict(make_tiny_model(build_tokenizer()).named_parameters())


@pytest.mark.slow
def test_fipo_trains_on_two_processes(tmp_path):
    done = launch(2, "-m", "tests.training.two_processes", str(tmp_path / "run"), "fipo", "2")
    assert done.returncode == 0, done.stderr[-2000:]
    folder = RunFolder(tmp_path / "run")
    assert folder.read_json("environment.json")["processes"] == 2
    row = folder.metrics()[0]
    assert row["actor/influence_weights_max"] > 1.0
    assert row["update"] == 2


@pytest.mark.slow
def test_a_run_on_two_processes_resumes_to_the_same_numbers(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("task: arithmetic\n")
    settings = [
        "rollouts=4",
        "save_rollouts=2",
        "prompts_per_rollout=4",
        "num_generations=4",
        "updates_per_rollout=2",
        "per_device_train_batch_size=4",
        "max_completion_length=32",
        "max_generation_batches=2",
        "dynamic_sampling_limit=continue",
        "use_cpu=true",
    ]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    done = launch(2, "-m", "fipo", "train", "--recipe", str(recipe), "--out", str(whole), *settings)
    assert done.returncode == 0, done.stderr[-2000:]
    shutil.copytree(whole, cut)
    shutil.rmtree(cut / "checkpoint-8")
    shutil.rmtree(cut / "model")
    done = launch(2, "-m", "fipo", "train", "--resume", str(cut))
    assert done.returncode == 0, done.stderr[-2000:]
    left, right = (
        [{k: v for k, v in row.items() if not k.startswith(("timing_s/", "perf/"))} for row in RunFolder(p).metrics()]
        for p in (whole, cut)
    )
    assert len(left) == 4
    assert left == right
    assert (cut / "model" / "model.safetensors").read_bytes() == (whole / "model" / "model.safetensors").read_bytes()
    # One process cannot continue what two began.
    done = launch(1, "-m", "fipo", "train", "--resume", str(cut), "rollouts=6")
    assert done.returncode != 0
    assert "cannot resume with processes=1: the run was made with 2" in done.stderr
