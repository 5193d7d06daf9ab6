"""Prompts to token ids and back, and which tokens end a response: the same for every engine that holds the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fipo.errors import FIPOError
from fipo.evaluation.engines.base import Prompt


def encode_prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    """The token ids that the model is given: the text with the tokenizer's own special tokens, or the filled template.

    Args:
        tokenizer: of transformers.
        prompt: text, or chat messages, which are closed with the template's generation prompt.

    Raises:
        FIPOError: for messages without a chat template, messages the template refuses, or a prompt without tokens.
    """
    tokens = tokenizer(prompt)["input_ids"] if isinstance(prompt, str) else _fill_template(tokenizer, prompt)
    if not tokens:
        raise FIPOError("a prompt is empty: it has no tokens, and a model needs at least one; leave that problem out")
    return list(tokens)


def _fill_template(tokenizer: Any, messages: list[dict[str, str]]) -> Any:
    # Only a missing template is refused: some tokenizers fill theirs in code and have no such attribute.
    if not getattr(tokenizer, "chat_template", "in code"):
        raise FIPOError(
            f"the tokenizer of {tokenizer.name_or_path or 'this model'!r} has no chat template, but the prompts are "
            "chat messages; use --prompt-style dapo, boxed or raw, or a model with a template"
        )
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise FIPOError(
            f"the model's chat template refuses messages of the roles {roles} ({_one_line(error)}); "
            "use --prompt-style dapo, boxed or raw, or change the messages"
        ) from error


def end_token_ids(tokenizer: Any, generation_config: Any = None) -> set[int]:
    """The tokens that end a response: those of the tokenizer and of generation_config.json together.

    Args:
        tokenizer: of transformers; one without an end token adds none.
        generation_config: a GenerationConfig, the dictionary of its file, or None.
    """
    given = getattr(generation_config, "eos_token_id", None)
    if isinstance(generation_config, dict):
        given = generation_config.get("eos_token_id")
    ends = list(given) if isinstance(given, (list, tuple, set)) else [given]
    return {int(token) for token in [*ends, tokenizer.eos_token_id] if token is not None}


def decode_response(tokenizer: Any, token_ids: Sequence[int]) -> str:
    """The text of a response, without special tokens."""
    return str(tokenizer.decode(list(token_ids), skip_special_tokens=True))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
