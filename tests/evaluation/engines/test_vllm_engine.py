"""Sampling with vLLM: what it is told, hand-over, aborts and errors. A stand-in takes vLLM's place."""

from __future__ import annotations

import os
import shutil
import sys

import pytest

pytest.importorskip("transformers", reason="sampling needs the extra [train]")

from fipo.errors import FIPOError
from fipo.evaluation.engines import vllm_engine
from fipo.evaluation.engines.base import Request, Sampling
from fipo.evaluation.engines.vllm_engine import VLLMEngine
from fipo.tasks.arithmetic import build_tokenizer
from tests.evaluation.engines.fake_vllm import FakeVLLM
from tests.evaluation.engines.tiny_model import save_tiny_model

SAMPLING = Sampling(temperature=1.0, top_p=1.0, max_tokens=60)
MESSAGES = [{"role": "user", "content": "a 3 = ?"}]


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    for name in ("LOGGING_LEVEL", "NO_USAGE_STATS", "WORKER_MULTIPROC_METHOD", "CPU_KVCACHE_SPACE"):
        # Set and deleted, so that it is afterwards as before also where it was not set.
        monkeypatch.setenv(f"VLLM_{name}", "")
        monkeypatch.delenv(f"VLLM_{name}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def tokenizer():
    return build_tokenizer()


@pytest.fixture
def fake(monkeypatch):
    return FakeVLLM(monkeypatch)


def run(engine, requests, **sampling):
    collected = []
    engine.generate(requests, Sampling(**{**vars(SAMPLING), **sampling}), collected.extend)
    responses = dict(collected)
    assert len(responses) == len(collected) == len(requests)
    return [responses[index] for index in range(len(requests))]


def numbered(count, first=0):
    return [Request("a 3 = ?" if seed % 2 else "b 4 + 5 = ?", first + seed) for seed in range(count)]


def test_the_models_own_sampling_settings_pickled_weights_and_usage_reports_are_off(fake, folder, tokenizer):
    VLLMEngine(str(folder), tokenizer, tensor_parallel=1, dtype="bfloat16", gpu_memory=0.5, seed=4)
    expected = {
        "model": str(folder),
        "load_format": "safetensors",
        "generation_config": "vllm",
        "trust_remote_code": False,
        "dtype": "bfloat16",
        "gpu_memory_utilization": 0.5,
        "tensor_parallel_size": 1,
        "seed": 4,
    }
    assert {name: fake.options[name] for name in expected} == expected
    assert os.environ["VLLM_NO_USAGE_STATS"] == "1"
    assert os.environ["VLLM_LOGGING_LEVEL"] == "ERROR"


def test_each_request_has_its_seed_and_the_end_tokens_of_model_and_tokenizer(fake, folder, tokenizer):
    run(VLLMEngine(str(folder), tokenizer), [Request("a 3 = ?", 17), Request("a 3 = ?", -1)], top_p=0.7)
    first, second = fake.params.values()
    assert (first.seed, first.n, first.temperature, first.top_p, first.max_tokens) == (17, 1, 1.0, 0.7, 60)
    assert first.stop_token_ids == [3, 5]
    # -1 is "no seed" to vLLM.
    assert second.seed == 2**63 - 1


def test_without_generation_config_the_models_own_end_token_counts(fake, folder, tokenizer, tmp_path):
    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model" / "generation_config.json").unlink()
    run(VLLMEngine(str(tmp_path / "model"), tokenizer), numbered(1))
    assert fake.params["0"].stop_token_ids == [3, 7]


@pytest.mark.parametrize("in_flight", [1, 7, 4096])
def test_every_response_finds_its_request_with_no_more_in_flight_than_allowed(
    fake, folder, tokenizer, monkeypatch, in_flight
):
    monkeypatch.setattr(vllm_engine, "IN_FLIGHT", in_flight)
    responses = run(VLLMEngine(str(folder), tokenizer), numbered(100), max_tokens=8)
    assert fake.most_in_flight == min(in_flight, 100)
    for seed, response in enumerate(responses):
        length = seed % 10 + 1
        expected = (length, "stop") if length <= 8 else (8, "length")
        assert (response.length, response.finish_reason) == expected
        assert response.truncated == (length > 8)
        assert response.text.count("=") == min(length - (length <= 8), 8)


def test_what_ends_is_handed_over_in_the_same_step(fake, folder, tokenizer):
    calls = []
    requests = [Request("a 3 = ?", seed) for seed in (4, 0, 4, 2)]
    VLLMEngine(str(folder), tokenizer).generate(requests, SAMPLING, lambda batch: calls.append((fake.steps, *batch)))
    assert [(step, [index for index, _ in batch]) for step, *batch in calls] == [(1, [1]), (3, [3]), (5, [0, 2])]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), KeyError("disk full")])
def test_what_the_receiver_raises_aborts_the_rest(fake, folder, tokenizer, error):
    engine = VLLMEngine(str(folder), tokenizer)

    def on_finished(finished):
        raise error

    with pytest.raises(type(error)) as caught:
        engine.generate(numbered(30), SAMPLING, on_finished)
    assert caught.value is error
    assert len(fake.aborted) == 27
    assert not fake.running
    assert len(run(engine, numbered(30))) == 30


def test_a_dead_engine_is_one_line(fake, folder, tokenizer):
    fake.dies_at = 3
    handed_over = []
    with pytest.raises(FIPOError, match=r"vLLM stopped while sampling from .*VLLM_LOGGING_LEVEL=INFO"):
        VLLMEngine(str(folder), tokenizer).generate(numbered(30), SAMPLING, handed_over.extend)
    assert len(handed_over) == 6


def test_a_sampling_that_vllm_refuses_is_one_line(fake, folder, tokenizer):
    with pytest.raises(FIPOError, match=r"^vLLM refuses a request: temperature must be in \[0, 2\]$"):
        run(VLLMEngine(str(folder), tokenizer), numbered(3), temperature=5.0)


def test_a_prompt_without_room_for_the_response_is_refused_before_anything_is_sampled(fake, folder, tokenizer):
    engine = VLLMEngine(str(folder), tokenizer)
    with pytest.raises(FIPOError, match="--max-tokens 60 after a prompt of 200 tokens is more than the 256 tokens"):
        run(engine, [*numbered(3), Request("a " * 200, 1)])
    assert not fake.params
    assert engine.prompt_lengths(["a 3 = ?", "a " * 200]) == [4, 200]


def test_messages_without_a_template_name_the_fix(fake, folder, tokenizer):
    with pytest.raises(FIPOError, match="--prompt-style dapo"):
        run(VLLMEngine(str(folder), tokenizer), [Request(MESSAGES, 1)])


def test_messages_are_written_with_the_template(fake, folder, tokenizer):
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.content }} . {% endfor %}{% if add_generation_prompt %}so{% endif %}"
    )
    assert VLLMEngine(str(folder), tokenizer).prompt_lengths([MESSAGES, "a"]) == [6, 1]


def test_a_length_that_cannot_fit_is_refused_and_the_engine_closed(fake, folder, tokenizer):
    with pytest.raises(FIPOError, match=r"--max-tokens 256 .*256 tokens.*--gpu-memory \(now 0.9\)"):
        VLLMEngine(str(folder), tokenizer, max_tokens_hint=256)
    assert fake.closed == 1
    assert VLLMEngine(str(folder), tokenizer, max_tokens_hint=255).context_length == 256


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("No available memory for the cache blocks. Try x. See https://x.org", "too little memory.*--tensor-parallel"),
        ("1 error\n  Value error, Model architectures ['A'] are not supported for now. Supported architectures: B, C "
         "[type=value_error, input_value={}]", r"\['A'\] are not supported for now\); use --engine transformers$"),
        ("Cannot find any model weights with `x`", r"no weights as \*.safetensors"),
        ("something\nelse", r"could not load .* \(something else\)"),
        ("", r"could not load .* \(ValueError\)"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_loaded_is_one_line(fake, folder, tokenizer, message, line):
    fake.failure = ValueError(message)
    with pytest.raises(FIPOError, match=line) as caught:
        VLLMEngine(str(folder), tokenizer)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"tensor_parallel": 0}, "--tensor-parallel 0"),
        ({"tensor_parallel": 2}, "--tensor-parallel 2 needs as many GPUs, and there are 1"),
        ({"dtype": "float8"}, r"--dtype 'float8' must be one of auto, .*did you mean 'float32'\?"),
        ({"gpu_memory": 0.0}, "--gpu-memory 0.0"),
        ({"gpu_memory": 1.5}, "--gpu-memory 1.5"),
    ],
)
def test_settings_out_of_range_are_refused(fake, tokenizer, settings, complaint):
    with pytest.raises(FIPOError, match=complaint):
        VLLMEngine("anything", tokenizer, **settings)
    assert fake.options is None


def test_the_record_names_version_precision_and_device(fake, folder, tokenizer):
    engine = VLLMEngine(str(folder), tokenizer)
    about = {"version": "9.9.9", "dtype": "bfloat16", "device": "NVIDIA Fake", "tensor_parallel": 1}
    assert engine.describe() == about
    engine.close()
    engine.close()
    assert fake.closed == 1


def test_without_vllm_the_package_is_named(monkeypatch, tokenizer):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(FIPOError, match=r'pip install "fipo\[vllm\]", or use --engine transformers'):
        VLLMEngine("anything", tokenizer)
