from __future__ import annotations

import re

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fipo.demo.measure import measure_responses
from fipo.evaluation import sample_responses
from fipo.tasks.arithmetic import base_model_path, build_tokenizer, generate_problems

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
    prompts = [problem.prompt for problem in problems]
    responses = [group[0] for group in sample_responses(model, tokenizer, prompts, max_new_tokens=144, seed=3)]
    assert torch.equal(state, torch.random.get_rng_state())
    measured = measure_responses(responses, [problem.answer for problem in problems])
    assert 0.12 < measured.accuracy.value < 0.25
    assert 9 < measured.length_mean < 17
    assert measured.length_quartiles[:2] == (3, 3)
    assert measured.truncated < 20
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
    assert "fipo.demo.pretrain --out DIR --updates 2010" in card
