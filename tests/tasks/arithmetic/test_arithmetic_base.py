from __future__ import annotations

import re

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fipo.tasks.arithmetic import base_model_path, build_tokenizer, generate_problems
from fipo.tasks.arithmetic.measure import generate_responses, measure_responses

FILES = {
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}


def test_the_folder_holds_the_model_and_nothing_else() -> None:
    assert {path.name for path in base_model_path().iterdir()} == FILES
    assert 400_000 < (base_model_path() / "model.safetensors").stat().st_size < 600_000


def test_no_file_names_a_machine() -> None:
    telling = re.compile(rb"/(?:root|home|tmp|work|usr|Users|mnt|var)\b|[A-Za-z]:\\\\|_name_or_path")
    for path in base_model_path().iterdir():
        assert not telling.search(path.read_bytes()), path.name


def test_the_shipped_tokenizer_is_the_built_one() -> None:
    shipped = AutoTokenizer.from_pretrained(base_model_path())
    assert shipped.get_vocab() == build_tokenizer().get_vocab()
    assert (shipped.eos_token, shipped.pad_token, shipped.padding_side) == (".", "<pad>", "left")
    text = "2 a +3 b +6 c -5 ? a +3 = 5 so 6 ."
    assert shipped.decode(shipped(text)["input_ids"]) == text


def test_the_ends_agree_in_every_configuration() -> None:
    model = AutoModelForCausalLM.from_pretrained(base_model_path())
    tokenizer = AutoTokenizer.from_pretrained(base_model_path())
    for config in (model.config, model.generation_config):
        assert config.eos_token_id == tokenizer.eos_token_id
        assert config.pad_token_id == tokenizer.pad_token_id
        assert config.bos_token_id == tokenizer.bos_token_id
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.model_type == "llama"
    assert 120_000 < model.num_parameters() < 140_000


def test_the_base_model_is_weak_but_not_hopeless() -> None:
    model = AutoModelForCausalLM.from_pretrained(base_model_path())
    tokenizer = AutoTokenizer.from_pretrained(base_model_path())
    problems = generate_problems(768, seed=77, split="test")
    state = torch.random.get_rng_state()
    responses = generate_responses(model, tokenizer, problems, sample=True, seed=3)
    assert torch.equal(state, torch.random.get_rng_state())
    measured = measure_responses(responses, [problem.answer for problem in problems])
    assert 0.12 < measured.accuracy < 0.25
    assert 9 < measured.length_mean < 17
    assert measured.length_quartiles[:2] == (3, 3)
    assert measured.unfinished < 20
    assert measured.aha > measured.oops
    right_0, n_0 = measured.by_checks[0]
    checked = [pair for count, pair in measured.by_checks.items() if count > 0]
    right, n = (sum(column) for column in zip(*checked, strict=True))
    assert n > 50
    assert right / n > right_0 / n_0 + 0.1


def test_the_card_states_the_accuracy_and_the_built_in_value_of_checks() -> None:
    card = (base_model_path() / "README.md").read_text()
    stated = re.search(r"\| accuracy \| (0\.\d+) \((0\.\d+) to (0\.\d+)\) \|", card)
    assert stated is not None
    accuracy, low, high = (float(number) for number in stated.groups())
    assert 0.12 < low < accuracy < high < 0.25
    assert "property of this text" in card
    assert "fipo.tasks.arithmetic.pretrain --out DIR --updates 2010" in card


@pytest.mark.parametrize("sample", [True, False])
def test_responses_come_in_the_order_of_the_problems(sample: bool) -> None:
    model = AutoModelForCausalLM.from_pretrained(base_model_path())
    problems = generate_problems(6, seed=5, split="test")
    responses = generate_responses(model, build_tokenizer(), problems, sample=sample)
    assert len(responses) == 6
    assert responses == generate_responses(model, build_tokenizer(), problems, sample=sample)
    assert all("<pad>" not in response and "?" not in response for response in responses)
