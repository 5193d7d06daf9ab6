from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from transformers import AutoTokenizer

from fipo.tasks.arithmetic import build_tokenizer, sample_document
from fipo.tasks.arithmetic.problem import OPERATIONS


def test_vocabulary() -> None:
    tokenizer = build_tokenizer()
    assert len(tokenizer) == tokenizer.vocab_size == 54
    assert set(OPERATIONS) <= set(tokenizer.get_vocab())
    assert tokenizer.eos_token == "."
    assert tokenizer.pad_token_id not in (tokenizer.eos_token_id, tokenizer.unk_token_id)


def test_round_trip_over_sampled_documents() -> None:
    tokenizer, rng = build_tokenizer(), random.Random(0)
    for _ in range(400):
        document = sample_document(rng)
        for text in (document.prompt, document.response, f"{document.prompt} {document.response}"):
            ids = tokenizer(text)["input_ids"]
            assert len(ids) == len(text.split())
            assert tokenizer.unk_token_id not in ids
            assert tokenizer.decode(ids) == text


def test_the_closing_stop_is_a_special_token() -> None:
    tokenizer = build_tokenizer()
    ids = tokenizer("so 6 .")["input_ids"]
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == "so 6"


def test_padding_goes_to_the_left() -> None:
    batch = build_tokenizer()(["2 a +3 ?", "2 ?"], padding=True)
    assert batch["attention_mask"] == [[1, 1, 1, 1], [0, 0, 1, 1]]


def test_saved_tokenizer_is_the_same(tmp_path: Path) -> None:
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "2 a +3 b *6 ? a +3 = 5 so 6 wait : no so 4 ."
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert loaded.decode(loaded(text)["input_ids"]) == text
    assert loaded.padding_side == "left"


def test_the_package_itself_loads_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, fipo; before = set(sys.modules); import fipo.tasks.arithmetic as a;"
        "a.generate_problems(3, seed=0, split='train'); a.base_model_path(); new = set(sys.modules) - before;"
        "print(sorted({'torch', 'transformers', 'tokenizers'} & new), 'fipo.tasks.arithmetic' in new)"
    )
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[] True"
