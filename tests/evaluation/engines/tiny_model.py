"""A tiny random model whose attention vLLM's CPU build knows."""

from __future__ import annotations

import torch

from fipo.tasks.arithmetic import build_tokenizer


def save_tiny_model(path):
    """Ends at 3 (".", the tokenizer's) and 5 ("="); its generation_config.json would change any sampling."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "max_position_embeddings": 256}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=54, eos_token_id=3, initializer_range=0.15, **sizes, **heads))
    model.generation_config.update(eos_token_id=[3, 5], do_sample=True, top_k=2, repetition_penalty=1.5)
    model.save_pretrained(path)
    build_tokenizer().save_pretrained(path)
    return path
