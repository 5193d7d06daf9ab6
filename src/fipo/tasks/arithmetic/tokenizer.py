"""The tokenizer: one token for each whitespace-separated word of the task."""

from __future__ import annotations

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from fipo.tasks.arithmetic.problem import KEYS, MODULUS, OPERATIONS

PAD_TOKEN = "<pad>"
BOS_TOKEN = "<bos>"
UNK_TOKEN = "<unk>"
EOS_TOKEN = "."


def vocabulary() -> list[str]:
    """The 54 tokens in the order of their ids; the pad token has id 0."""
    special = [PAD_TOKEN, BOS_TOKEN, UNK_TOKEN, EOS_TOKEN]
    words = ["?", "=", "so", "wait", ":", "yes", "no"]
    return [*special, *words, *(str(value) for value in range(MODULUS)), *KEYS, *OPERATIONS]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer that pads on the left and adds no token of its own.

    `.` is both a word and the end-of-sequence token, so decoding with `skip_special_tokens=True`
    drops it; without it, text that is spaced by single blanks survives encoding and decoding unchanged.
    """
    core = Tokenizer(models.WordLevel({token: index for index, token in enumerate(vocabulary())}, unk_token=UNK_TOKEN))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD_TOKEN,
        bos_token=BOS_TOKEN,
        unk_token=UNK_TOKEN,
        eos_token=EOS_TOKEN,
        padding_side="left",
        model_max_length=256,
        # The default clean-up would glue the question mark and the full stop to the word before them.
        clean_up_tokenization_spaces=False,
    )
