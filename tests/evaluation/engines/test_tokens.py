"""Prompts to tokens and back, and what ends a response."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("transformers", reason="tokenizers need the extra [train]")

from fipo.errors import FIPOError
from fipo.evaluation.engines.tokens import decode_response, encode_prompt, end_token_ids
from fipo.tasks.arithmetic import build_tokenizer

MESSAGES = [{"role": "system", "content": "yes"}, {"role": "user", "content": "a 3 = ?"}]
TEMPLATE = (
    "{% for message in messages %}{{ message.content }} wait {% endfor %}{% if add_generation_prompt %}so{% endif %}"
)


@pytest.fixture
def tokenizer():
    return build_tokenizer()


def test_text_is_encoded_as_the_tokenizer_does(tokenizer):
    assert encode_prompt(tokenizer, "a 3 = ?") == tokenizer("a 3 = ?")["input_ids"]


def test_messages_are_encoded_with_the_template_and_its_generation_prompt(tokenizer):
    tokenizer.chat_template = TEMPLATE
    assert encode_prompt(tokenizer, MESSAGES) == tokenizer("yes wait a 3 = ? wait so")["input_ids"]


def test_messages_without_a_template_name_the_styles_that_need_none(tokenizer):
    with pytest.raises(FIPOError, match=r"no chat template.*--prompt-style dapo, boxed or raw"):
        encode_prompt(tokenizer, MESSAGES)


def test_a_tokenizer_that_fills_its_template_in_code_needs_none():
    def apply_chat_template(messages, **options):
        assert options == {"add_generation_prompt": True, "tokenize": True, "return_dict": False}
        return [1, 2, 3]

    assert encode_prompt(SimpleNamespace(apply_chat_template=apply_chat_template), MESSAGES) == [1, 2, 3]


def test_messages_that_the_template_refuses_are_named(tokenizer):
    tokenizer.chat_template = "{{ raise_exception('System role\nnot supported') }}"
    with pytest.raises(FIPOError, match=r"roles system, user \(System role not supported\)"):
        encode_prompt(tokenizer, MESSAGES)


def test_a_prompt_without_tokens_is_refused(tokenizer):
    with pytest.raises(FIPOError, match="prompt is empty"):
        encode_prompt(tokenizer, "")


@pytest.mark.parametrize(
    ("generation_config", "expected"),
    [
        (None, {3}),
        ({}, {3}),
        ({"eos_token_id": 7}, {3, 7}),
        ({"eos_token_id": [3, 8, 9]}, {3, 8, 9}),
        (SimpleNamespace(eos_token_id=[5]), {3, 5}),
        (SimpleNamespace(eos_token_id=0), {0, 3}),
        (SimpleNamespace(eos_token_id=None), {3}),
    ],
)
def test_the_end_tokens_are_those_of_tokenizer_and_model_together(tokenizer, generation_config, expected):
    assert end_token_ids(tokenizer, generation_config) == expected


def test_a_tokenizer_without_an_end_token_adds_none(tokenizer):
    tokenizer.eos_token = None
    assert end_token_ids(tokenizer, {"eos_token_id": 7}) == {7}
    assert end_token_ids(tokenizer) == set()


def test_the_text_of_a_response_has_no_special_tokens(tokenizer):
    assert decode_response(tokenizer, tokenizer("so 4 .")["input_ids"]) == "so 4"
    assert decode_response(tokenizer, []) == ""
