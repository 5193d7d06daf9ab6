"""Settings: what is derived from them, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from fipo import FIPOLossConfig
from fipo.errors import FIPOError


def test_batch_sizes_follow_from_prompts_and_updates(settings):
    args = settings(prompts_per_rollout=8, num_generations=4, updates_per_rollout=4, per_device_train_batch_size=2)
    assert args.gradient_accumulation_steps == 4
    assert args.steps_per_generation == 16
    assert args.generation_batch_size == 32
    assert args.max_steps == 2 * 4
    assert args.logging_steps == 4


def test_checkpoints_fall_between_rollouts(settings):
    args = settings(save_rollouts=3)
    assert (args.save_strategy, args.save_steps) == ("steps", 12)
    assert settings(save_rollouts=None).save_strategy == "no"


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [("fipo", FIPOLossConfig.paper_32b()), ("dapo", FIPOLossConfig.dapo()), ("grpo", FIPOLossConfig.grpo())],
)
def test_each_algorithm_is_a_preset(settings, algorithm, expected):
    assert settings(algorithm=algorithm).loss_config == expected


def test_loss_overrides_change_the_preset(settings):
    loss = settings(loss={"half_life": 128, "influence_clip_low": 0.2}).loss_config
    assert (loss.half_life, loss.influence_clip_low, loss.influence_clip_high) == (128, 0.2, 0.2)


def test_a_whole_loss_config_may_be_given(settings):
    given = FIPOLossConfig.paper_7b(half_life=math.inf)
    assert settings(loss=given).loss_config == given


def test_dynamic_sampling_is_on_for_fipo_and_dapo_alone(settings):
    assert [settings(algorithm=name).uses_dynamic_sampling for name in ("fipo", "dapo", "grpo")] == [
        True,
        True,
        False,
    ]
    assert settings(algorithm="grpo", dynamic_sampling=True).uses_dynamic_sampling


def test_settings_can_be_written_as_json(settings):
    assert json.loads(settings(loss={"window": None}).to_json_string())["updates_per_rollout"] == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_generations": 1}, "num_generations=1 must be a whole number >= 2: a response is judged"),
        ({"prompts_per_rollout": 0}, "prompts_per_rollout=0 must be a whole number >= 1"),
        ({"prompts_per_rollout": 2.5}, "prompts_per_rollout=2.5 must be a whole number"),
        ({"updates_per_rollout": 3}, "cannot be split into updates_per_rollout=3 equal mini-batches"),
        ({"per_device_train_batch_size": 3}, "try per_device_train_batch_size=2"),
        ({"updates_per_rollout": 1, "per_device_train_batch_size": 16}, "every influence weight 1"),
        ({"algorithm": "fipp"}, "did you mean 'fipo'"),
        ({"loss": {"half_lif": 3}}, "loss.half_lif is no setting of the loss (did you mean 'half_life'?)"),
        ({"loss": {"half_life": 0}}, "loss.half_life=0 must be a number in (0, inf]"),
        ({"algorithm": "dapo", "loss": {"influence_clip_high": 0.2}}, "use 'fipo'"),
        ({"epsilon": 0.3}, "epsilon=0.3 is not read by this trainer: set loss.clip_ratio_low"),
        ({"loss_type": "grpo"}, "set loss.loss_agg_mode"),
        ({"num_iterations": 2}, "set updates_per_rollout"),
        ({"beta": 0.1}, "beta=0.1 adds a term"),
        ({"scale_rewards": "batch"}, "must be 'group' or 'none'"),
        ({"rollouts": None, "max_steps": 7}, "max_steps=7 updates is not a multiple"),
        ({"rollouts": 2, "max_steps": 4}, "disagree"),
        ({"overlong_buffer_length": 13}, "at most max_completion_length=12"),
        ({"overlong_penalty_factor": -1}, "overlong_penalty_factor=-1 must be in [0, inf]"),
        ({"learning_rate": math.nan}, "learning_rate=nan must be in [0, inf]"),
        ({"temperature": 0.0}, "temperature=0.0 must be in"),
        ({"top_p": 1.5}, "top_p=1.5 must be in"),
        ({"seed": -1}, "seed=-1 must be in [0,"),
        ({"prompts_per_generation": 2}, "at least prompts_per_rollout=4"),
        ({"dynamic_sampling_limit": "contine"}, "did you mean 'continue'"),
        ({"save_steps": 100}, "save_steps=100 is not read by this trainer: set save_rollouts"),
        ({"save_only_model": True}, "could not be resumed"),
        ({"overlong_penalty_factor": math.nan}, "must be in [0, inf]"),
        ({"loss": {"average": "nope"}}, "loss.average='nope' must be true or false"),
    ],
)
def test_bad_settings_are_refused_in_one_line(settings, changes, message):
    with pytest.raises(FIPOError) as caught:
        settings(**changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_can_be_copied_with_a_change(settings):
    args = settings(save_rollouts=3)
    copied = dataclasses.replace(args, learning_rate=1e-5)
    assert copied.learning_rate == 1e-5
    assert copied.gradient_accumulation_steps == args.gradient_accumulation_steps
    assert copied.save_steps == args.save_steps


def test_every_replaced_setting_still_exists_in_trl():
    from trl import GRPOConfig

    from fipo.training.config import REPLACED_SETTINGS, UNSUPPORTED_SETTINGS

    known = {field.name for field in dataclasses.fields(GRPOConfig)}
    assert set(REPLACED_SETTINGS) | set(UNSUPPORTED_SETTINGS) <= known | {"enable_jit_checkpoint"}
