"""`train_from_recipe` on word problems with a tiny Qwen2: it cannot learn, but it must run, grade and log."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from fipo.errors import FIPOError
from fipo.runs import RunFolder
from fipo.training.recipe import parse_recipe
from fipo.training.run import build_trainer, train_from_recipe

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "gsm8k_test.jsonl"


@pytest.fixture(scope="module")
def qwen(tmp_path_factory) -> Path:
    """A Qwen2 folder with a byte-level tokenizer and random weights."""
    from tokenizers import Tokenizer, decoders, models
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path_factory.mktemp("models") / "tiny-qwen2"
    words = [*sorted(ByteLevel.alphabet()), "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {word: index for index, word in enumerate(words)}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(vocabulary),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        eos_token_id=vocabulary["<|im_end|>"],
        pad_token_id=vocabulary["<|endoftext|>"],
        bos_token_id=None,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def problems(tmp_path) -> Path:
    file = tmp_path / "problems.jsonl"
    rows = [{"question": f"What is {n} plus {n}?", "answer": f"It is {2 * n}.\n#### {2 * n}"} for n in range(8)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def recipe(model: Path, data: Path, /, **changes: Any) -> Any:
    training = {
        "rollouts": 2,
        "prompts_per_rollout": 4,
        "num_generations": 4,
        "updates_per_rollout": 2,
        "per_device_train_batch_size": 4,
        "max_completion_length": 8,
        "learning_rate": 1e-2,
        "dynamic_sampling": False,
        "overlong_buffer_length": 4,
        "save_rollouts": 1,
        "use_cpu": True,
    }
    tree = {"model": str(model), "data": {"source": str(data)}, "training": training}
    for key, value in changes.items():
        if key == "training":
            training.update(value)
        else:
            tree[key] = {**tree.get(key, {}), **value} if isinstance(value, dict) else value
    return parse_recipe(tree)


@pytest.mark.parametrize("style", ["dapo", "chat"])
def test_word_problems_are_asked_graded_and_logged(qwen, problems, tmp_path, style):
    folder = train_from_recipe(recipe(qwen, problems, data={"prompt_style": style}), tmp_path / "run")
    rows = folder.metrics()
    assert [row["step"] for row in rows] == [1, 2]
    assert all(math.isfinite(value) for row in rows for value in row.values())
    sample = folder.samples()[0]
    assert set(sample["rewards"]) == {"math_reward", "overlong_penalty"}
    assert sample["answer"] in {str(2 * n) for n in range(8)}
    assert isinstance(sample["prompt"], str if style == "dapo" else list)
    assert (folder.path / "model" / "model.safetensors").is_file()
    assert RunFolder.open(folder.path).read_json("run.json")["status"] == "finished"


def test_adapters_are_trained_alone(qwen, problems, tmp_path):
    lora = {"r": 2, "target_modules": "all-linear", "lora_alpha": 4}
    folder = train_from_recipe(recipe(qwen, problems, lora=lora), tmp_path / "run")
    assert (folder.path / "model" / "adapter_model.safetensors").is_file()
    assert not (folder.path / "model" / "model.safetensors").exists()
    assert folder.metrics()[-1]["actor/grad_norm"] >= 0
    with pytest.raises(FIPOError, match=r"unknown key lora.rnk"):
        build_trainer(recipe(qwen, problems, lora={"rnk": 2}), tmp_path / "other")


def test_what_is_missing_is_named(qwen, problems, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(FIPOError, match="no model: give --model"):
        build_trainer(parse_recipe({"data": {"source": str(problems)}}), out)
    with pytest.raises(FIPOError, match="no training data: give --data"):
        build_trainer(parse_recipe({"model": str(qwen)}), out)
    with pytest.raises(FIPOError, match=r"model \./nowhere: does not exist"):
        build_trainer(recipe(Path("nowhere"), problems, model="./nowhere"), out)
    empty = tmp_path / "empty-model"
    empty.mkdir()
    with pytest.raises(FIPOError, match="empty-model holds no model"):
        build_trainer(recipe(empty, problems), out)
    assert not out.exists()


def test_a_row_without_an_answer_is_named_before_the_model_is_loaded(qwen, tmp_path):
    file = tmp_path / "bad.jsonl"
    file.write_text('{"problem": "1+1", "answer": "2"}\n{"problem": "1+2"}\n')
    with pytest.raises(FIPOError, match=r"bad.jsonl.*2.*answer"):
        build_trainer(recipe(qwen, file), tmp_path / "run")


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data/gsm8k_test.jsonl")
def test_gsm8k_runs(qwen, tmp_path):
    folder = train_from_recipe(recipe(qwen, SHARED, training={"max_completion_length": 24}), tmp_path / "run")
    assert len(folder.metrics()) == 2
    assert all(sample["rewards"]["math_reward"] in (0.0, 1.0) for sample in folder.samples())
