"""The `fipo` command as a user types it: exit codes, one line per mistake, no tracebacks."""

from __future__ import annotations

import signal
import time

import pytest

pytest.importorskip("typer", reason="the command line needs the extra [cli]")
pytest.importorskip("trl", reason="the trainer needs the extra [train]")

from fipo.runs import RunFolder
from tests.cli.command import fipo, start

TINY = [
    "prompts_per_rollout=4",
    "num_generations=4",
    "updates_per_rollout=2",
    "per_device_train_batch_size=8",
    "max_completion_length=48",
    "max_generation_batches=4",
    "dynamic_sampling_limit=continue",
    "learning_rate=1e-3",
    "lr_scheduler_type=constant",
    "use_cpu=true",
]


@pytest.fixture
def recipe(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("task: arithmetic\n")
    return str(file)


def test_help_and_version_need_nothing_else():
    code, out, _ = fipo("--help")
    assert code == 0
    assert "demo" in out
    assert "train" in out
    for command in ("train", "demo"):
        code, out, _ = fipo(command, "--help")
        assert (code, "--seed" in out) == (0, True)
    assert fipo("--version")[1].startswith("fipo ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "no run folder: give --out FOLDER"),
        (["train", "--out", "x"], "no model: give --model"),
        (["train", "--out", "x", "--recipe", "none.yaml"], "none.yaml does not exist"),
        (["train", "--out", "x", "--model", "m", "lerning_rate=1"], "did you mean 'learning_rate'?"),
        (["train", "--out", "x", "--model", "m", "nonsense"], "write key=value"),
        (["train", "--out", "x", "--model", "m", "--algorithm", "fpo"], "did you mean 'fipo'?"),
        (["train", "--out", "x", "--model", "m", "--data", "missing.jsonl"], "missing.jsonl"),
        (["train", "--out", "x", "--model", "m", "--data", "empty.jsonl"], "empty.jsonl"),
        (["train", "--out", "used", "--model", "m", "--data", "d"], "already holds a run"),
        (["train", "--resume", "nowhere"], "nowhere has no recipe.yaml"),
        (["train", "--out", "x", "--recipe", "demo.yaml", "top_k=-5"], "top_k=-5 must be in [0, inf]"),
        (["train", "--out", "x", "--recipe", "demo.yaml", "optim=foo"], "foo is not a valid OptimizerNames"),
        (["train", "--out", "x", "--recipe", "demo.yaml", "lora.r=-1", "rollouts=1"], "`r` should be a positive"),
        (["train", "--resume", "used", "--out", "x"], "leave --recipe and --out out"),
        (["demo", "--algorithm", "dpo"], "did you mean 'dapo'?"),
        (["demo", "--out", "used"], "is in use"),
    ],
)
def test_mistakes_end_with_one_line_and_an_exit_code(tmp_path, arguments, message):
    RunFolder.create(tmp_path / "used", config={}, environment={})
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "demo.yaml").write_text("task: arithmetic\ntraining: {per_device_train_batch_size: 512}\n")
    code, _, err = fipo(*arguments, cwd=tmp_path)
    assert code == 1
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert not (tmp_path / "x").exists()


def test_flags_that_do_not_exist_are_refused():
    code, _, err = fipo("demo", "--step", "3")
    assert code == 2
    assert "--steps" in err


@pytest.mark.slow
def test_training_from_a_recipe_shows_progress_and_leaves_a_run(recipe, tmp_path):
    code, out, err = fipo("train", "--recipe", recipe, "--out", str(tmp_path / "run"), "rollouts=2", *TINY)
    assert code == 0, err
    assert "2/2" in out
    folder = RunFolder.open(tmp_path / "run")
    assert [row["step"] for row in folder.metrics()] == [1, 2]
    assert (folder.path / "model" / "model.safetensors").is_file()


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_numbers(recipe, tmp_path):
    """kill -9 in the middle of a rollout, then --resume: metrics equal those of a run that was left alone."""
    settings = ["rollouts=5", "save_rollouts=2", *TINY]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert fipo("train", "--recipe", recipe, "--out", str(whole), *settings)[0] == 0
    process = start("train", "--recipe", recipe, "--out", str(cut), *settings)
    deadline = time.monotonic() + 200
    while len(RunFolder(cut).metrics()) < 3 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    code, _, err = fipo("train", "--resume", str(cut))
    assert code == 0, err
    left, right = (
        [{k: v for k, v in row.items() if not k.startswith(("timing_s/", "perf/"))} for row in RunFolder(p).metrics()]
        for p in (whole, cut)
    )
    assert len(left) == 5
    assert left == right


@pytest.mark.slow
def test_ctrl_c_ends_with_one_line_and_leaves_a_run_to_continue(recipe, tmp_path):
    out = tmp_path / "run"
    process = start("train", "--recipe", recipe, "--out", str(out), "rollouts=500", "save_rollouts=1", *TINY)
    deadline = time.monotonic() + 200
    while len(RunFolder(out).metrics()) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130
    assert err.strip().splitlines()[-1].startswith("error: interrupted")
    assert "Traceback" not in err
    assert RunFolder.open(out).read_json("run.json")["status"] == "interrupted"
    assert RunFolder(out).last_checkpoint() is not None


@pytest.mark.slow
def test_a_finished_run_is_left_as_it_is(recipe, tmp_path):
    out = tmp_path / "run"
    assert fipo("train", "--recipe", recipe, "--out", str(out), "rollouts=2", *TINY)[0] == 0
    before = {path.name: path.read_bytes() for path in (out / "metrics.jsonl", out / "model" / "model.safetensors")}
    code, _, err = fipo("train", "--resume", str(out))
    assert code == 0, err
    assert before == {
        path.name: path.read_bytes() for path in (out / "metrics.jsonl", out / "model" / "model.safetensors")
    }


@pytest.mark.slow
def test_starved_dynamic_sampling_ends_the_run_with_advice(recipe, tmp_path):
    """At almost no temperature all responses of a group are equal, and so are their rewards."""
    settings = [*TINY, "rollouts=50", "save_rollouts=1", "dynamic_sampling_limit=error", "max_generation_batches=1"]
    code, _, err = fipo("train", "--recipe", recipe, "--out", str(tmp_path / "run"), *settings, "temperature=0.01")
    assert code == 1
    assert "Traceback" not in err
    assert "groups whose rewards differ" in err
    assert RunFolder.open(tmp_path / "run").read_json("run.json")["status"] == "failed"
