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


def test_a_folder_without_a_run_cannot_be_resumed(make_trainer, tmp_path):
    with pytest.raises(FIPOError, match="holds no run to resume"):
        make_trainer().train(resume_from_checkpoint=True)
    (tmp_path / "checkpoint-4").mkdir()
    with pytest.raises(FIPOError, match="is no complete checkpoint of this trainer"):
        make_trainer().train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))


def test_a_run_cut_off_before_its_first_checkpoint_starts_again(make_trainer, tmp_path):
    whole = make_trainer(output_dir=str(tmp_path / "whole"))
    whole.train()
    cut = make_trainer(output_dir=str(tmp_path / "cut"))
    cut._recorder.start(resumed_at=None, processes=1)
    cut._recorder.write(1, 4, {"reward/mean": 9.0}, [])
    cut.train(resume_from_checkpoint=True)
    assert comparable(RunFolder(tmp_path / "cut").metrics()) == comparable(RunFolder(tmp_path / "whole").metrics())


def test_a_finished_run_is_not_trained_any_further(make_trainer):
    trainer = make_trainer(save_rollouts=1)
    trainer.train()
    rows = RunFolder(trainer.args.output_dir).metrics()
    again = make_trainer(save_rollouts=1)
    again.train(resume_from_checkpoint=True)
    assert RunFolder(trainer.args.output_dir).metrics() == rows
    assert [path.name for path in RunFolder(trainer.args.output_dir).checkpoints()] == ["checkpoint-4", "checkpoint-8"]
    for name, value in parameters(trainer).items():
        assert torch.equal(value, parameters(again)[name])
    assert RunFolder(trainer.args.output_dir).read_json("run.json")["status"] == "finished"


def test_a_finished_run_can_be_made_longer(make_trainer, tmp_path):
    make_trainer(output_dir=str(tmp_path / "short"), save_rollouts=1).train()
    longer = make_trainer(output_dir=str(tmp_path / "short"), save_rollouts=2, rollouts=4)
    longer.train(resume_from_checkpoint=True)
    whole = make_trainer(output_dir=str(tmp_path / "whole"), save_rollouts=1, rollouts=4)
    whole.train()
    folder = RunFolder(tmp_path / "short")
    assert comparable(folder.metrics()) == comparable(RunFolder(tmp_path / "whole").metrics())
    # The new interval counts, not the one in the checkpoint.
    assert [path.name for path in folder.checkpoints()] == ["checkpoint-4", "checkpoint-8", "checkpoint-16"]
    assert folder.read_json("config.json")["training"]["max_steps"] == 16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 7}, "cannot resume with seed=7: the run was made with 42"),
        ({"updates_per_rollout": 2, "per_device_train_batch_size": 8}, "cannot resume with updates_per_rollout=2"),
        ({"prompts_per_rollout": 8}, "cannot resume with prompts_per_rollout=8: the run was made with 4"),
    ],
)
def test_a_run_is_not_continued_as_another(make_trainer, changes, message):
    trainer = make_trainer(save_rollouts=1, rollouts=2)
    trainer.train()
    config = RunFolder(trainer.args.output_dir).read_json("config.json")
    with pytest.raises(FIPOError) as caught:
        make_trainer(save_rollouts=1, rollouts=4, **changes).train(resume_from_checkpoint=True)
    assert message in str(caught.value)
    assert RunFolder(trainer.args.output_dir).read_json("config.json") == config


def test_a_broken_checkpoint_state_is_named(make_trainer):
    trainer = make_trainer(save_rollouts=1)
    trainer.train()
    (Path(trainer.args.output_dir) / "checkpoint-8" / "fipo_state.json").write_text("{}")
    with pytest.raises(FIPOError, match="holds no checkpoint state"):
        make_trainer(save_rollouts=1).train(resume_from_checkpoint=True)


def test_old_checkpoints_go_only_after_the_new_one_is_complete(make_trainer, monkeypatch):
    from fipo.training import resume

    seen = []
    write = resume.CheckpointState.write

    def spy(self, checkpoint):
        seen.append([path.name for path in RunFolder(checkpoint.parent).checkpoints()])
        write(self, checkpoint)

    monkeypatch.setattr(resume.CheckpointState, "write", spy)
    trainer = make_trainer(save_rollouts=1, rollouts=4, save_total_limit=1)
    trainer.train()
    assert seen == [[], ["checkpoint-4"], ["checkpoint-8"], ["checkpoint-12"]]
    assert [path.name for path in RunFolder(trainer.args.output_dir).checkpoints()] == ["checkpoint-16"]


def test_resuming_from_an_older_checkpoint_drops_the_later_ones(make_trainer):
    trainer = make_trainer(save_rollouts=1, rollouts=3)
    trainer.train()
    folder = RunFolder(trainer.args.output_dir)
    whole = folder.metrics()
    again = make_trainer(save_rollouts=1, rollouts=3)

    def stop(completions, **_):
        raise KeyboardInterrupt

    again.reward_funcs[0] = stop
    with pytest.raises(KeyboardInterrupt):
        again.train(resume_from_checkpoint=str(folder.path / "checkpoint-4"))
    assert [path.name for path in folder.checkpoints()] == ["checkpoint-4"]
    make_trainer(save_rollouts=1, rollouts=3).train(resume_from_checkpoint=True)
    assert comparable(folder.metrics()) == comparable(whole)


def test_a_checkpoint_within_a_rollout_is_not_one_to_resume_from(make_trainer):
    from transformers import TrainerCallback

    class SaveInBetween(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_save = state.global_step == 6

    trainer = make_trainer(extra={"callbacks": [SaveInBetween()]})
    trainer.train()
    assert (Path(trainer.args.output_dir) / "checkpoint-6").is_dir()
    assert RunFolder(trainer.args.output_dir).checkpoints() == []


def test_an_interrupted_run_says_so(make_trainer):
    def interrupt(completions, **_):
        raise KeyboardInterrupt

    trainer = make_trainer(reward=interrupt)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert RunFolder(Path(trainer.args.output_dir)).read_json("run.json")["status"] == "interrupted"
