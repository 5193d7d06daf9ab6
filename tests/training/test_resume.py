"""Runs that are cut off and continued."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from fipo.errors import FIPOError
from fipo.runs import RunFolder
from tests.training.test_trainer import parameters


def comparable(rows):
    """Without what depends on the clock."""
    return [{k: v for k, v in row.items() if not k.startswith(("timing_s/", "perf/"))} for row in rows]


def test_a_resumed_run_equals_an_uninterrupted_one(make_trainer, tmp_path):
    """The prompts wrap around their epoch, and dynamic sampling refills: both must be continued exactly."""
    common = {"rollouts": 6, "save_rollouts": 2, "prompts_per_rollout": 16, "per_device_train_batch_size": 16}
    whole = make_trainer(output_dir=str(tmp_path / "whole"), **common)
    whole.train()
    # What a process killed during step 5 leaves: lines up to there, and a checkpoint that was being written.
    cut = tmp_path / "cut"
    shutil.copytree(tmp_path / "whole", cut)
    shutil.rmtree(cut / "checkpoint-24")
    (cut / "checkpoint-20").mkdir()
    lines = (cut / "metrics.jsonl").read_text().splitlines(keepends=True)
    (cut / "metrics.jsonl").write_text("".join(lines[:5]) + lines[5][: len(lines[5]) // 2])
    resumed = make_trainer(output_dir=str(cut), **common)
    resumed.train(resume_from_checkpoint=True)
    assert comparable(RunFolder(cut).metrics()) == comparable(RunFolder(tmp_path / "whole").metrics())
    assert RunFolder(cut).samples() == RunFolder(tmp_path / "whole").samples()
    for name, value in parameters(whole).items():
        assert torch.equal(value, parameters(resumed)[name]), name


def test_checkpoints_hold_safetensors_and_the_prompt_stream(make_trainer):
    trainer = make_trainer(save_rollouts=1)
    trainer.train()
    folder = RunFolder(trainer.args.output_dir)
    assert [path.name for path in folder.checkpoints()] == ["checkpoint-4", "checkpoint-8"]
    assert (folder.path / "checkpoint-4" / "model.safetensors").is_file()
    assert not list(folder.path.rglob("pytorch_model*.bin"))
    state = json.loads((folder.path / "checkpoint-4" / "fipo_state.json").read_text())
    assert state["rollout_step"] == 1
    assert state["prompt_stream"]["position"] >= 4


def test_resuming_without_a_checkpoint_is_refused(make_trainer, tmp_path):
    with pytest.raises(FIPOError, match="has no complete checkpoint"):
        make_trainer().train(resume_from_checkpoint=True)
    (tmp_path / "checkpoint-4").mkdir()
    with pytest.raises(FIPOError, match="is no complete checkpoint of this trainer"):
        make_trainer().train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))


def test_an_interrupted_run_says_so(make_trainer):
    def interrupt(completions, **_):
        raise KeyboardInterrupt

    trainer = make_trainer(reward=interrupt)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert RunFolder(Path(trainer.args.output_dir)).read_json("run.json")["status"] == "interrupted"
