"""Reward functions behind the check, and the overlong penalty as one of them."""

from __future__ import annotations

import asyncio
import functools
import inspect

import pytest
import torch

from fipo.training.rewards import RewardError, checked_reward, overlong_penalty


def lengths(completions, **_):
    return [float(len(completion)) for completion in completions]


def test_good_rewards_pass_unchanged_and_keep_their_name():
    checked = checked_reward(lengths)
    assert checked(completions=["a", "bc"]) == [1.0, 2.0]
    assert checked.__name__ == "lengths"
    assert checked_reward(lambda completions: [None, 1])(completions=["a", "b"]) == [None, 1]


def test_callable_objects_and_partials_have_a_name():
    class Judge:
        def __call__(self, completions, **_):
            return [1.0] * len(completions)

    assert checked_reward(Judge()).__name__ == "Judge"
    assert checked_reward(functools.partial(lengths))(completions=["a"]) == [1.0]


def test_tensors_are_read_as_numbers():
    assert [float(value) for value in checked_reward(lambda **_: torch.tensor([0.0, 1.0]))()] == [0.0, 1.0]


def test_coroutines_and_models_are_left_to_trl():
    async def judge(completions, **_):
        return [1.0]

    assert checked_reward(judge) is judge
    assert inspect.iscoroutinefunction(checked_reward(judge))
    assert asyncio.run(judge(["a"])) == [1.0]

    class Judge:
        async def __call__(self, completions, **_):
            return [1.0]

    instance = Judge()
    assert checked_reward(instance) is instance
    model = torch.nn.Linear(1, 1)
    assert checked_reward(model) is model


def test_the_sample_and_its_text_are_named():
    with pytest.raises(RewardError) as caught:
        checked_reward(lambda completions, **_: [1.0, float("nan")])(completions=["fine", "bad\x1b one"])
    assert "sample 1 (completion 'bad\\x1b one')" in str(caught.value)


@pytest.mark.parametrize("bad", [None, "1", 1.0, torch.tensor(1.0)])
def test_what_is_no_list_is_refused(bad):
    with pytest.raises(RewardError, match="expected one number per completion"):
        checked_reward(lambda **_: bad)()


@pytest.mark.parametrize("bad", [1e39, float("-inf"), [1.0], "x"])
def test_rewards_must_fit_a_float(bad):
    with pytest.raises(RewardError, match="must be finite"):
        checked_reward(lambda **_: [bad])()


def test_the_cause_is_kept_for_those_who_want_the_traceback():
    def broken(**_):
        return {}["key"]

    with pytest.raises(RewardError, match="reward function 'broken' raised KeyError: 'key'") as caught:
        checked_reward(broken)()
    assert isinstance(caught.value.__cause__, KeyError)


def test_the_overlong_penalty_reads_token_counts():
    penalty = overlong_penalty(max_length=10, buffer_length=4, factor=2.0)
    found = penalty(completion_ids=[[0] * n for n in (0, 6, 7, 10, 12)], completions=None)
    assert found == [0.0, 0.0, -0.5, -2.0, -2.0]
    assert penalty.__name__ == "overlong_penalty"
