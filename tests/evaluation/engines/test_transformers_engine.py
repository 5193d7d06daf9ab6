"""Sampling with transformers: the distribution, seeds that know no batches, ends, limits, hand-over."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("transformers", reason="sampling needs the extra [train]")

from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from fipo.errors import FIPOError
from fipo.evaluation.engines import transformers_engine
from fipo.evaluation.engines.base import Request, Sampling
from fipo.evaluation.engines.transformers_engine import SeededSampler, TransformersEngine
from fipo.tasks.arithmetic import base_model_path, held_out_problems


@pytest.fixture(scope="module")
def base():
    path = base_model_path()
    return AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)


@pytest.fixture(scope="module")
def requests():
    return [Request(problem.prompt, seed) for seed, problem in enumerate(held_out_problems(40))]


def run(base, requests, batch_size=8, **sampling):
    collected = []
    engine = TransformersEngine(*base, batch_size=batch_size)
    engine.generate(
        requests, Sampling(**{"temperature": 1.0, "top_p": 1.0, "max_tokens": 60, **sampling}), collected.extend
    )
    responses = dict(collected)
    assert len(responses) == len(collected) == len(requests)
    return [responses[index] for index in range(len(requests))]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_a_response_depends_on_its_seed_and_not_on_its_batch(base, requests, batch_size):
    expected = run(base, requests, batch_size=8)
    assert run(base, requests, batch_size=batch_size) == expected
    assert run(base, requests[::-1], batch_size=batch_size)[::-1] == expected
    assert run(base, requests[5:6], batch_size=batch_size) == expected[5:6]
    others = run(base, [Request(request.prompt, request.seed + 1000) for request in requests])
    assert sum(one != other for one, other in zip(expected, others)) > 20


def test_greedy_is_the_greedy_of_transformers(base, requests):
    model, tokenizer = base
    for request, response in zip(requests[:6], run(base, requests[:6], temperature=0.0)):
        inputs = tokenizer(request.prompt, return_tensors="pt", return_token_type_ids=False)
        output = model.generate(**inputs, do_sample=False, max_new_tokens=60)
        assert response.text == tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def frequencies(probs, sampling, draws=20_000):
    streams = [np.random.default_rng(seed) for seed in range(draws)]
    scores = torch.tensor(probs).log().repeat(draws, 1)
    forced = SeededSampler(streams, sampling)(torch.zeros(draws, 1), scores)
    assert (forced == 0).sum(dim=-1).eq(1).all()
    return torch.bincount(forced.argmax(dim=-1), minlength=len(probs)).double().numpy() / draws


@pytest.mark.parametrize(
    ("temperature", "top_p", "expected"),
    [
        (1.0, 1.0, [0.4, 0.1, 0.3, 0.2]),
        (0.5, 1.0, [0.16 / 0.3, 0.01 / 0.3, 0.09 / 0.3, 0.04 / 0.3]),
        # The nucleus is the smallest set that reaches top_p: 0.4 + 0.3 reach 0.7, and 0.71 takes in 0.2.
        (1.0, 0.69, [4 / 7, 0, 3 / 7, 0]),
        (1.0, 0.71, [4 / 9, 0, 3 / 9, 2 / 9]),
        (1.0, 0.01, [1, 0, 0, 0]),
    ],
)
def test_tokens_are_drawn_as_often_as_they_should(temperature, top_p, expected):
    found = frequencies([0.4, 0.1, 0.3, 0.2], Sampling(temperature, top_p, 1))
    assert found == pytest.approx(expected, abs=0.012)
    assert (found[np.array(expected) == 0] == 0).all()


@settings(max_examples=50, deadline=None)
@given(
    logits=st.lists(st.floats(-20, 20), min_size=2, max_size=60),
    top_p=st.floats(0.05, 1.0),
    seed=st.integers(0, 2**31 - 1),
)
def test_the_short_list_of_candidates_changes_no_draw(logits, top_p, seed):
    scores = torch.tensor([logits])
    sampling = Sampling(0.8, top_p, 1)

    def draw():
        return SeededSampler([np.random.default_rng(seed)], sampling)(torch.zeros(1, 1), scores)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers_engine, "CANDIDATES", 2)
        short = draw()
    # Equal logits may change places; their probability is what counts.
    assert scores[0, short.argmax()] == scores[0, draw().argmax()]


def test_a_forbidden_token_is_never_drawn():
    found = frequencies([0.5, 0.0, 0.5], Sampling(1.0, 1.0, 1), draws=2000)
    assert found[1] == 0


def test_lengths_count_the_end_token_and_the_limit_is_kept(base, requests):
    _, tokenizer = base
    seen = set()
    for response in run(base, requests, max_tokens=6):
        words = len(tokenizer(response.text)["input_ids"])
        assert response.length == (6 if response.truncated else words + 1)
        assert response.finish_reason == ("length" if response.truncated else "stop")
        seen.add(response.finish_reason)
    assert seen == {"stop", "length"}


def test_an_end_token_at_the_limit_is_an_end(base, requests):
    (whole,) = run(base, requests[:1])
    assert not whole.truncated
    assert run(base, requests[:1], max_tokens=whole.length) == [whole]
    assert run(base, requests[:1], max_tokens=whole.length - 1)[0].truncated


def test_responses_are_handed_over_when_they_end_and_not_with_the_batch(base, requests):
    handed = []
    engine = TransformersEngine(*base, batch_size=40)
    engine.generate(requests, Sampling(1.0, 1.0, 60), lambda finished: handed.append([r.length for _, r in finished]))
    lengths = [length for batch in handed for length in batch]
    assert len(handed) > 5
    assert len(set(handed[0])) == 1
    assert handed[0][0] == min(lengths)


def test_defaults_of_the_model_do_not_reach_the_sampling(base, requests):
    model, _ = base
    expected = run(base, requests[:10])
    own = model.generation_config
    tricky = GenerationConfig(
        **{**own.to_dict(), "top_k": 1, "repetition_penalty": 5.0, "do_sample": True, "min_new_tokens": 50}
    )
    model.generation_config = tricky
    try:
        assert run(base, requests[:10]) == expected
        assert model.generation_config is tricky
    finally:
        model.generation_config = own


def test_every_end_token_of_the_model_ends_a_response(base, requests):
    model, tokenizer = base
    own = model.generation_config
    model.generation_config = GenerationConfig.from_dict(
        {**own.to_dict(), "eos_token_id": [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("so")]}
    )
    try:
        assert {response.text.split()[-1] for response in run(base, requests[:5], temperature=0.0)} == {"so"}
    finally:
        model.generation_config = own


def test_an_error_of_the_receiver_ends_the_sampling_and_the_model_stays_usable(base, requests):
    model, tokenizer = base
    model.train()

    def refuse(finished):
        raise FIPOError("no disk space")

    with pytest.raises(FIPOError, match="no disk space"):
        TransformersEngine(model, tokenizer).generate(requests, Sampling(1.0, 1.0, 60), refuse)
    assert model.training
    model.eval()


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_logits_that_are_no_numbers_are_refused(broken):
    sampler = SeededSampler([np.random.default_rng(0)], Sampling(0.0, 1.0, 1))
    with pytest.raises(FIPOError, match="not numbers"):
        sampler(torch.zeros(1, 1), torch.tensor([[0.0, broken]]))


def test_an_early_stop_covers_all_problems_alike(base, requests):
    handed = []

    def note(finished):
        handed.extend(index for index, _ in finished)

    TransformersEngine(*base, batch_size=4).generate(requests * 2, Sampling(1.0, 1.0, 60), note)
    first_round = [index for index in handed[: len(requests)] if index < len(requests)]
    assert len(first_round) > 0.8 * len(requests)


def test_running_out_of_gpu_memory_names_the_setting(base, requests, monkeypatch):
    def full(**kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate ...")

    monkeypatch.setattr(base[0], "generate", full)
    with pytest.raises(FIPOError, match=r"with 8 responses at once: give a smaller --batch-size"):
        run(base, requests)


def test_chats_need_a_template(base):
    with pytest.raises(FIPOError, match="has no chat template"):
        run(base, [Request([{"role": "user", "content": "b"}], 0)])
