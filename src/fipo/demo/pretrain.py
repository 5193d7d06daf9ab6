"""Trains the base model of the arithmetic task from nothing: `python -m fipo.demo.pretrain`."""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from fipo.demo.card import model_card
from fipo.demo.measure import Measurement, measure_responses
from fipo.demo.settings import MAX_RESPONSE
from fipo.errors import FIPOError
from fipo.evaluation import sample_responses
from fipo.tasks.arithmetic import build_tokenizer, generate_problems
from fipo.tasks.arithmetic.corpus import TRUE_MIXTURE, Mixture, sample_document

UPDATES = 2010
DOCUMENTS_PER_UPDATE = 48
DOCUMENTS_PER_CHUNK = 16
LEARNING_RATE = 4e-3
WARMUP_UPDATES = 50
MAX_GRADIENT_NORM = 1.0
IGNORED = -100
LOG_EVERY = 50
HELD_OUT_PROBLEMS = 4000

# (end as a share of the updates, mixture). Facts first, then whole chains, then direct answers at a low
# share; from the true mixture alone a model this small learns to guess before it learns to compute.
# Checks have four fifths of the worked text: at their share of the true mixture, later passes and
# verdicts stay unreliable long after the first pass is exact.
CURRICULUM = (
    (0.45, Mixture(direct=0.0, chain=0.20, guess_checks=0.35, chain_checks=0.45, one_operation=0.6)),
    (0.60, Mixture(direct=0.0, chain=0.20, guess_checks=0.35, chain_checks=0.45, one_operation=0.3)),
    (0.85, Mixture(direct=0.30, chain=0.14, guess_checks=0.245, chain_checks=0.315)),
    (1.00, TRUE_MIXTURE),
)


@dataclass(frozen=True)
class TrainingSummary:
    """What a training run used: document tokens (padding left out), wall-clock seconds, its last loss."""

    updates: int
    tokens: int
    seconds: float
    loss: float


def build_model() -> LlamaForCausalLM:
    """An untrained LLaMA-shaped decoder of 0.13M parameters, drawn from torch's global generator."""
    tokenizer = build_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=128,
        max_position_embeddings=tokenizer.model_max_length,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
        attention_dropout=0.0,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        # No text holds it; equal to the tokenizer's, so that trainers find nothing to align.
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        dtype="float32",
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return model


def mixture_at(update: int, updates: int) -> Mixture:
    """The mixture of one update (0-based) of a run; the stages scale with the length of the run."""
    return next(mixture for end, mixture in CURRICULUM if update < end * updates)


def learning_rate_factor(update: int, updates: int) -> float:
    """Linear warm-up over at most 50 updates, then a cosine to zero; 1 at the peak."""
    warmup = min(WARMUP_UPDATES, updates // 2)
    if update < warmup:
        return (update + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (update - warmup) / (updates - warmup)))


def sample_batch(
    rng: random.Random, mixture: Mixture, vocabulary: dict[str, int], pad: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The documents of one update as three chunks of (ids, labels), both (16, longest document of the chunk).

    Rows are right-padded; labels are -100 outside the response. Chunks hold documents of similar length,
    so that few of the positions are padding.
    """
    pairs = []
    for _ in range(DOCUMENTS_PER_UPDATE):
        document = sample_document(rng, mixture)
        prompt, response = (
            [vocabulary[word] for word in text.split()] for text in (document.prompt, document.response)
        )
        pairs.append((prompt + response, [IGNORED] * len(prompt) + response))
    pairs.sort(key=lambda pair: len(pair[0]))
    chunks = []
    for begin in range(0, DOCUMENTS_PER_UPDATE, DOCUMENTS_PER_CHUNK):
        chunk = pairs[begin : begin + DOCUMENTS_PER_CHUNK]
        width = len(chunk[-1][0])
        ids = [row + [pad] * (width - len(row)) for row, _ in chunk]
        labels = [row + [IGNORED] * (width - len(row)) for _, row in chunk]
        chunks.append((torch.tensor(ids), torch.tensor(labels)))
    return chunks


def _backward(model: LlamaForCausalLM, chunks: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Adds the gradient of the mean loss over all response tokens of the chunks; returns that loss."""
    total = sum(int((labels != IGNORED).sum()) for _, labels in chunks)
    mean = 0.0
    for ids, labels in chunks:
        # Right padding and causal attention: no real token sees a padded one, so no mask is needed.
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        loss = cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum")
        (loss / total).backward()
        mean += loss.item() / total
    return mean


def train_base(updates: int = UPDATES, *, seed: int = 0) -> tuple[LlamaForCausalLM, TrainingSummary]:
    """A base model trained for `updates` updates, and what the training used; prints its progress."""
    torch.manual_seed(seed)
    rng = random.Random(f"arithmetic/pretrain/{seed}")
    tokenizer, model = build_tokenizer(), build_model()
    vocabulary, pad = tokenizer.get_vocab(), int(tokenizer.pad_token_id)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, updates))
    model.train()
    tokens, smooth, begin = 0, 0.0, time.perf_counter()
    for update in range(updates):
        chunks = sample_batch(rng, mixture_at(update, updates), vocabulary, pad)
        loss = _backward(model, chunks)
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        tokens += sum(int((ids != pad).sum()) for ids, _ in chunks)
        smooth = loss if update == 0 else 0.95 * smooth + 0.05 * loss
        if (update + 1) % LOG_EVERY == 0 or update + 1 == updates:
            elapsed = time.perf_counter() - begin
            print(f"update {update + 1}/{updates}  loss {smooth:.3f}  {tokens} tokens  {elapsed:.0f} s", flush=True)
    return model.eval(), TrainingSummary(updates, tokens, time.perf_counter() - begin, smooth)


def write_base(out: Path, *, updates: int, seed: int, threads: int, held_out: int = HELD_OUT_PROBLEMS) -> None:
    """Trains, measures on `held_out` test problems and writes the Hugging Face folder with its card.

    Sets torch's thread count for the process. Raises FIPOError where `out` cannot be made.
    """
    try:
        # Before the training: minutes of work must not end at a folder that cannot be written.
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FIPOError(f"--out {out} cannot be made ({error.strerror}): name a folder you may write") from error
    torch.set_num_threads(threads)
    model, summary = train_base(updates, seed=seed)
    tokenizer = build_tokenizer()
    problems = generate_problems(held_out, seed=0, split="test")
    print(f"measuring on {held_out} held-out problems", flush=True)

    def measure(temperature: float) -> Measurement:
        prompts = [problem.prompt for problem in problems]
        responses = sample_responses(model, tokenizer, prompts, temperature=temperature, max_new_tokens=MAX_RESPONSE)
        return measure_responses([group[0] for group in responses], [problem.answer for problem in problems])

    sampled, greedy = measure(1.0), measure(0.0)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    card = model_card(sampled, greedy, summary, parameters=model.num_parameters(), seed=seed, threads=threads)
    (out / "README.md").write_text(card, encoding="utf-8")
    print(
        f"accuracy {sampled.accuracy.value:.3f} sampled, {greedy.accuracy.value:.3f} greedy; mean length "
        f"{sampled.length_mean:.1f} tokens; written to {out}",
        flush=True,
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise FIPOError(f"{message} (see --help)")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="python -m fipo.demo.pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="new or empty folder to write")
    parser.add_argument("--updates", type=int, default=UPDATES, help=f"default {UPDATES}")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the text; default 0")
    parser.add_argument("--threads", type=int, default=1, help="torch threads; default 1")
    options = parser.parse_args(arguments)
    for name, value, least in (
        ("updates", options.updates, 1),
        ("seed", options.seed, 0),
        ("threads", options.threads, 1),
    ):
        if value < least:
            raise FIPOError(f"--{name} {value} is too small: give {least} or more")
    if options.out.exists() and not options.out.is_dir():
        raise FIPOError(f"--out {options.out} is a file: name a new or empty folder")
    if options.out.is_dir() and any(options.out.iterdir()):
        raise FIPOError(f"--out {options.out} is not empty: name a new or empty folder")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 after one line on the mistake in its arguments."""
    try:
        options = _parse(arguments)
        write_base(options.out, updates=options.updates, seed=options.seed, threads=options.threads)
    except FIPOError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
