"""Real short runs: what an update does, for every algorithm."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import fipo.training.trainer as trainer_module
from fipo.errors import FIPOError
from fipo.runs import RunFolder
from fipo.training import NonFiniteLossError
from tests.training.conftest import even_reward


def parameters(trainer: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in trainer.model.named_parameters()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture
def outputs(monkeypatch):
    """Every `FIPOLossOutput` of the run, in order."""
    seen = []
    original = trainer_module.fipo_loss

    def spy(*args, **kwargs):
        output = original(*args, **kwargs)
        seen.append(output)
        return output

    monkeypatch.setattr(trainer_module, "fipo_loss", spy)
    return seen


@pytest.mark.parametrize("algorithm", ["fipo", "dapo", "grpo"])
def test_each_algorithm_moves_the_weights_and_logs_every_metric(make_trainer, algorithm):
    trainer = make_trainer(algorithm=algorithm, overlong_buffer_length=4)
    before = parameters(trainer)
    trainer.train()
    assert not same(before, parameters(trainer))
    rows = RunFolder(trainer.args.output_dir).metrics()
    assert [(row["step"], row["update"]) for row in rows] == [(1, 4), (2, 8)]
    paper = {
        "reward/mean",
        "reward/accuracy",
        "response_length/min",
        "response_length/q25",
        "response_length/mean",
        "response_length/median",
        "response_length/q75",
        "response_length/max",
        "response_length/clip_ratio",
        "dynamic_sampling/generation_batches",
        "dynamic_sampling/uniform_groups",
        "advantages/length_weighted_mean",
        "actor/ppo_kl",
        "actor/grad_norm",
        "actor/entropy",
        "actor/pg_clipfrac",
        "actor/pg_clipfrac_lower",
        "actor/influence_weights_mean",
        "actor/influence_weights_min",
        "actor/influence_weights_max",
        "actor/influence_weights_mean_raw",
        "actor/IW_upper_clip_ratio",
        "actor/IW_lower_clip_ratio",
        "actor/future_kl_mean",
        "actor/future_kl_std",
        "perf/sampled_tokens_per_second",
        "timing_s/gen",
        "timing_s/reward",
        "timing_s/update_actor",
    }
    for row in rows:
        assert paper <= set(row)
        assert all(math.isfinite(value) for value in row.values())
    weights = {row["actor/influence_weights_mean"] for row in rows}
    assert (weights == {1.0}) == (algorithm != "fipo")


def test_every_logged_metric_is_documented(make_trainer):
    page = (Path(__file__).resolve().parents[2] / "docs" / "run-folder.md").read_text(encoding="utf-8")
    trainer = make_trainer()
    trainer.train()
    for key in RunFolder(trainer.args.output_dir).metrics()[0]:
        assert f"`{key}`" in page, key


def test_fipo_with_range_one_is_dapo_to_the_bit(make_trainer, tmp_path):
    one = {"influence_clip_low": 0.0, "influence_clip_high": 0.0}
    fipo = make_trainer(algorithm="fipo", loss=one, output_dir=str(tmp_path / "fipo"))
    fipo.train()
    dapo = make_trainer(algorithm="dapo", output_dir=str(tmp_path / "dapo"))
    dapo.train()
    assert same(parameters(fipo), parameters(dapo))
    moved = make_trainer(algorithm="fipo", output_dir=str(tmp_path / "moved"))
    moved.train()
    assert not same(parameters(moved), parameters(dapo))


def test_weights_are_one_on_the_first_update_after_a_rollout_and_not_later(make_trainer, outputs):
    make_trainer(algorithm="fipo", loss={"influence_clip_low": 0.5, "influence_clip_high": 0.5}).train()
    assert len(outputs) == 8
    for index, output in enumerate(outputs):
        distance = (output.influence_weights - 1).abs().max().item()
        if index % 4 == 0:
            assert distance < 1e-4
        else:
            assert distance > 1e-3


@pytest.mark.parametrize("algorithm", ["dapo", "grpo"])
def test_the_result_does_not_depend_on_the_micro_batch(make_trainer, tmp_path, algorithm):
    def run(size):
        trainer = make_trainer(
            algorithm=algorithm,
            per_device_train_batch_size=size,
            updates_per_rollout=2,
            rollouts=1,
            optim="sgd",
            learning_rate=1.0,
            max_grad_norm=1e9,
            output_dir=str(tmp_path / f"{size}"),
        )
        trainer.train()
        return parameters(trainer), RunFolder(trainer.args.output_dir).metrics()[0]

    (whole, whole_row), (split, split_row) = run(8), run(1)
    for name in whole:
        torch.testing.assert_close(split[name], whole[name], rtol=0, atol=2e-5)
    for key in ("actor/pg_loss", "actor/entropy", "actor/ppo_kl", "actor/grad_norm", "actor/neg_is_max"):
        assert split_row[key] == pytest.approx(whole_row[key], rel=1e-3, abs=1e-6), key


def test_responses_that_hit_the_limit_can_be_left_out(make_trainer, outputs, monkeypatch):
    masks = []
    spy = trainer_module.fipo_loss

    def keep_mask(log_prob, old_log_prob, advantages, mask, *args, **kwargs):
        masks.append(mask)
        return spy(log_prob, old_log_prob, advantages, mask, *args, **kwargs)

    monkeypatch.setattr(trainer_module, "fipo_loss", keep_mask)
    trainer = make_trainer(mask_truncated_completions=True, rollouts=1, max_completion_length=6)
    trainer.train()
    row = RunFolder(trainer.args.output_dir).metrics()[0]
    assert 0 < row["response_length/clip_ratio"] < 1
    assert row["response_length/max"] == 6
    rows_without_loss = sum(int((mask.sum(dim=1) == 0).sum()) for mask in masks)
    assert rows_without_loss >= 1


def test_the_overlong_penalty_is_logged_and_does_not_decide_dynamic_sampling(make_trainer):
    trainer = make_trainer(
        overlong_buffer_length=12, reward=lambda completions, **_: [0.0, 1.0] * (len(completions) // 2)
    )
    trainer.train()
    row = RunFolder(trainer.args.output_dir).metrics()[0]
    assert row["reward/accuracy"] == 0.5
    assert row["reward/mean"] < 0.5
    assert "overlong_penalty" in trainer.reward_func_names


def test_equal_rewards_hit_the_limit_with_advice(make_trainer):
    trainer = make_trainer(reward=lambda completions, **_: [1.0] * len(completions), max_generation_batches=2)
    with pytest.raises(FIPOError, match="0 of 4 groups whose rewards differ in 2 generation batches"):
        trainer.train()
    assert RunFolder(trainer.args.output_dir).read_json("run.json")["status"] == "failed"


def test_accuracy_and_filter_can_use_another_reward(make_trainer):
    def constant(completions, **_):
        return [1.0] * len(completions)

    def alternating(completions, **_):
        return [0.0, 1.0] * (len(completions) // 2)

    trainer = make_trainer(reward=[constant, alternating], dynamic_sampling_reward="alternating")
    trainer.train()
    assert RunFolder(trainer.args.output_dir).metrics()[0]["reward/accuracy"] == 0.5
    with pytest.raises(FIPOError, match="did you mean 'alternating'"):
        make_trainer(reward=[constant, alternating], dynamic_sampling_reward="alternatin", output_dir="unused")


def test_a_reward_that_does_not_apply_leaves_the_decision_to_the_total(make_trainer):
    def never(completions, **_):
        return [None] * len(completions)

    def constant(completions, **_):
        return [1.0] * len(completions)

    trainer = make_trainer(reward=[never, constant], max_generation_batches=1)
    with pytest.raises(FIPOError, match="0 of 4 groups whose rewards differ"):
        trainer.train()
    trainer = make_trainer(reward=[never, even_reward], output_dir=f"{trainer.args.output_dir}-2")
    trainer.train()
    row = RunFolder(trainer.args.output_dir).metrics()[0]
    assert "reward/accuracy" not in row
    assert math.isfinite(row["reward/mean"])


def test_quantiles_do_not_depend_on_how_thin_the_micro_batches_are(make_trainer, tmp_path):
    """On the first update every ratio is 1, whatever the share of rows with A > 0 in a micro-batch."""
    for size in (16, 1):
        trainer = make_trainer(
            algorithm="dapo",
            updates_per_rollout=1,
            per_device_train_batch_size=size,
            output_dir=str(tmp_path / str(size)),
        )
        trainer.train()
        row = RunFolder(tmp_path / str(size)).metrics()[0]
        for key in ("pos_is_median", "pos_is_min", "pos_is_p25", "neg_is_p75", "neg_is_max"):
            assert row[f"actor/{key}"] == pytest.approx(1.0, abs=1e-4), key


def test_passes_over_the_data_end_with_a_whole_rollout(make_trainer):
    trainer = make_trainer(rollouts=None, num_train_epochs=0.1)
    trainer.train()
    assert [row["update"] for row in RunFolder(trainer.args.output_dir).metrics()] == [4, 8]
    with pytest.raises(FIPOError, match="num_train_epochs=0 must be greater than 0"):
        make_trainer(rollouts=None, num_train_epochs=0, output_dir="unused")


def test_iterable_data_train_or_say_why_not(make_trainer, problems):
    trainer = make_trainer(dataset=problems.to_iterable_dataset())
    trainer.train()
    assert len(RunFolder(trainer.args.output_dir).metrics()) == 2
    with pytest.raises(FIPOError, match="cannot be checked on an iterable data set"):
        make_trainer(dataset=problems.to_iterable_dataset(), max_prompt_length=5, output_dir="unused")
    few = make_trainer(
        dataset=problems.select(range(2)).to_iterable_dataset(), output_dir=f"{trainer.args.output_dir}-few"
    )
    with pytest.raises(FIPOError, match="no update was made"):
        few.train()


def test_a_broken_loss_stops_before_the_update(make_trainer, monkeypatch):
    trainer = make_trainer(save_rollouts=1, rollouts=3)
    original = trainer_module.fipo_loss
    calls = []

    def poisoned(log_prob, *args, **kwargs):
        calls.append(0)
        return original(log_prob * (float("nan") if len(calls) == 6 else 1.0), *args, **kwargs)

    monkeypatch.setattr(trainer_module, "fipo_loss", poisoned)
    with pytest.raises(NonFiniteLossError) as caught:
        trainer.train()
    text = str(caught.value)
    assert "update 6 (rollout step 2)" in text
    assert str(Path(trainer.args.output_dir) / "checkpoint-4") in text
    assert all(torch.isfinite(value).all() for value in parameters(trainer).values())


def test_a_broken_tensor_is_named_and_no_checkpoint_is_made_up(make_trainer):
    model = make_trainer().model

    def poison(completions, **_):
        with torch.no_grad():
            model.lm_head.weight[0, 0] = float("nan")
        return even_reward(completions)

    trainer = make_trainer(model=model, reward=poison, dynamic_sampling=False)
    with pytest.raises(NonFiniteLossError) as caught:
        trainer.train()
    assert "update 1 (rollout step 1)" in str(caught.value)
    assert "log_prob is not finite" in str(caught.value)
    assert "no checkpoint was saved yet" in str(caught.value)
    # From now on the model cannot even sample.
    with pytest.raises(NonFiniteLossError, match="probability of a sampled token is nan"):
        make_trainer(model=model, output_dir=f"{trainer.args.output_dir}-2").train()


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (lambda completions, **_: [math.nan] * len(completions), "returned nan for sample 0"),
        (lambda completions, **_: [math.inf] * len(completions), "rewards must be finite"),
        (lambda completions, **_: 1 / 0, "raised ZeroDivisionError: division by zero"),
        (lambda completions, **_: ["good"] * len(completions), "returned 'good' for sample 0"),
        (lambda completions, **_: 1.0, "returned no list: expected one number per completion"),
        (lambda completions, **_: [None] * len(completions), "no reward function scored sample 0"),
    ],
)
def test_bad_rewards_end_the_run_with_one_line(make_trainer, reward, message):
    trainer = make_trainer(reward=reward)
    with pytest.raises(FIPOError) as caught:
        trainer.train()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_data_that_cannot_be_trained_on_are_refused(make_trainer, problems):
    with pytest.raises(FIPOError, match="has no 'prompt' column, found problem, answer"):
        make_trainer(dataset=problems.rename_column("prompt", "problem"))
    with pytest.raises(FIPOError, match="train_dataset is empty"):
        make_trainer(dataset=problems.select([]))
    with pytest.raises(FIPOError, match="3 prompts, fewer than prompts_per_rollout=4: lower it to at most 3"):
        make_trainer(dataset=problems.select(range(3)))


def test_long_prompts_are_refused_or_dropped(make_trainer, problems, tokenizer):
    lengths = [len(tokenizer(prompt)["input_ids"]) for prompt in problems["prompt"]]
    limit = sorted(lengths)[len(lengths) // 2]
    longer = sum(length > limit for length in lengths)
    with pytest.raises(FIPOError, match=f"{longer} of 64 prompts are longer than max_prompt_length={limit}"):
        make_trainer(max_prompt_length=limit)
    kept = make_trainer(max_prompt_length=limit, filter_overlong_prompts=True)
    assert len(kept.train_dataset) == 64 - longer


def test_a_tokenizer_without_an_end_token_is_refused(make_trainer, tokenizer, problems, settings):
    from fipo.training import FIPOTrainer

    endless = copy.deepcopy(tokenizer)
    endless.eos_token = None
    with pytest.raises(FIPOError, match="no eos token"):
        FIPOTrainer(
            make_trainer().model, lambda **_: [], args=settings(), train_dataset=problems, processing_class=endless
        )


def test_a_folder_that_holds_a_run_is_refused(make_trainer):
    trainer = make_trainer(rollouts=1)
    trainer.train()
    before = (Path(trainer.args.output_dir) / "metrics.jsonl").read_bytes()
    with pytest.raises(FIPOError, match="already holds a run"):
        make_trainer(rollouts=1).train()
    assert (Path(trainer.args.output_dir) / "metrics.jsonl").read_bytes() == before


def test_samples_have_prompt_response_reward_and_advantage(make_trainer):
    trainer = make_trainer(samples_per_rollout=3)
    trainer.train()
    samples = RunFolder(trainer.args.output_dir).samples()
    assert [sample["step"] for sample in samples] == [1, 1, 1, 2, 2, 2]
    for sample in samples:
        assert sample["prompt"].endswith("?")
        assert sample["rewards"]["even_reward"] == float(len(sample["completion"].split()) % 2 == 0)
        assert sample["length"] >= 1


def test_config_and_environment_are_written(make_trainer):
    trainer = make_trainer(loss={"half_life": 8})
    trainer.train()
    folder = RunFolder.open(trainer.args.output_dir)
    config = folder.read_json("config.json")
    assert config["loss"]["half_life"] == 8
    assert config["training"]["updates_per_rollout"] == 4
    environment = folder.read_json("environment.json")
    assert (environment["packages"]["torch"], environment["seed"]) == (torch.__version__, 42)
    assert json.loads((folder.path / "run.json").read_text())["status"] == "finished"


def test_evaluation_with_a_data_set_still_works(make_trainer, problems):
    """Also where a reward function has nothing to say about held-out rows, which TRL only warns of."""
    training = [True]

    def silent_in_evaluation(completions, **_):
        return even_reward(completions) if training[0] else [None] * len(completions)

    evaluated = {"eval_dataset": problems.select(range(4))}
    trainer = make_trainer(reward=silent_in_evaluation, rollouts=1, extra=evaluated, per_device_eval_batch_size=16)
    trainer.train()
    assert math.isfinite(trainer.evaluate()["eval_loss"])
    training[0] = False
    assert math.isfinite(trainer.evaluate()["eval_loss"])
