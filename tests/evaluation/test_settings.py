"""Settings of an evaluation: ranges, names, counts."""

from __future__ import annotations

import pytest

from fipo.errors import FIPOError
from fipo.evaluation.settings import EvalSettings, Runtime, parse_counts, split_names


def test_the_defaults_are_the_protocol_of_the_paper():
    settings = EvalSettings("m", ("aime24",))
    assert (settings.n, settings.temperature, settings.top_p, settings.trust_remote_code) == (32, 1.0, 0.7, False)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data": ()}, "no data: give --data"),
        ({"n": 0}, "--n 0 must be a whole number from 1 up"),
        ({"seed": -1}, "--seed -1 must be a whole number from 0 up"),
        ({"limit": 0}, "--limit 0 must be"),
        ({"max_tokens": 0}, "--max-tokens 0 must be"),
        ({"temperature": -0.1}, "--temperature -0.1 must be 0 .greedy., or from 0.001"),
        ({"temperature": 1e-40}, "--temperature 1e-40 must be"),
        ({"limit": 10**12}, "--limit 1000000000000 must be a whole number from 1 to 1000000000"),
        ({"temperature": float("nan")}, "--temperature nan must be"),
        ({"temperature": 0.0}, "all 32 responses are one: give --n 1"),
        ({"top_p": 0.0}, "--top-p 0.0 must be above 0 and at most 1"),
        ({"top_p": 1.01}, "--top-p 1.01 must be"),
        ({"engine": "vlm"}, "--engine 'vlm' must be one of .*did you mean 'vllm'"),
        ({"dtype": "fp16"}, "--dtype 'fp16' must be one of"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_flag(values, message):
    with pytest.raises(FIPOError, match=message):
        EvalSettings(**{"model": "m", "data": ("aime24",), **values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_size": 0}, "--batch-size 0 must be"),
        ({"tensor_parallel": 0}, "--tensor-parallel 0 must be"),
        ({"gpu_memory": 1.5}, "--gpu-memory 1.5 must be"),
    ],
)
def test_a_runtime_out_of_range_is_refused(values, message):
    with pytest.raises(FIPOError, match=message):
        Runtime(**values)


def test_settings_survive_their_file():
    settings = EvalSettings("m", ("aime24", "a.jsonl"), n=3, top_p=0.9, limit=5)
    assert EvalSettings.from_dict({**settings.as_dict(), "benchmarks": {}}) == settings
    with pytest.raises(FIPOError, match="names no model or no data"):
        EvalSettings.from_dict({"model": "m"})


def test_counts_are_powers_of_two_up_to_n_and_n_itself():
    assert parse_counts(None, 32) == (1, 2, 4, 8, 16, 32)
    assert parse_counts(None, 6) == (1, 2, 4, 6)
    assert parse_counts(None, 1) == (1,)
    assert parse_counts("8, 1,8", 8) == (1, 8)


@pytest.mark.parametrize("text", ["0", "9", "1,x", "", "-1", "1.5", "²"])
def test_a_count_that_no_n_samples_have_is_refused(text):
    with pytest.raises(FIPOError, match="must be a whole number from 1 to 8"):
        parse_counts(text, 8)


def test_names_come_with_commas_or_one_by_one(tmp_path):
    odd = tmp_path / "a,b.jsonl"
    odd.touch()
    assert split_names(["aime24,aime25", " gsm8k ", str(odd), ","]) == ("aime24", "aime25", "gsm8k", str(odd))
