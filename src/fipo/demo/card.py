"""The model card of a trained base model, filled with what was measured."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import torch
import transformers

from fipo.demo.measure import Measurement
from fipo.evaluation import share

if TYPE_CHECKING:
    from fipo.demo.pretrain import TrainingSummary

_CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
license: apache-2.0
---

# A small base model for reinforcement learning from verifiable rewards

A LLaMA-shaped decoder of {parameters:,} parameters (width 64, 3 layers, 4 heads, 54 tokens), trained from
nothing on synthetic text. It follows a running value modulo 10 through three to seven operations:

    2 a +3 b +6 c -5 ?  ->  a +3 = 5 b +6 = 1 c -5 = 6 so 6 .

It answers at once, works step by step, or checks an earlier answer again (`wait : ... yes` or `no`). The
answer of a response is its last `so N`; `.` ends it. The words `yes` and `no` are weakly learnt: the answer
that follows them, not the word, says what a check found. The model is a starting point for reinforcement
learning with a reward for right answers, and of no other use.

## What was built into the text

- 70 % of the documents answer at once, always with the true value: the model learns that habit, but is too
  small to compute the value without writing steps, so most of its answers are guesses.
- A quarter of the 250 facts (value, operation) come out as one fixed wrong value (with probability 0.85)
  until one or two checks have gone by. **That checking pays is therefore a property of this text, put there
  on purpose, not something the model discovered.** Chains in the text are right about one time in three at
  the first pass, 0.55 at the second and 0.82 from the third on.

## Measured

{n} held-out problems (split `test`, seed 0; no training text has any of them), one response each, at most
144 tokens. Intervals are 95 % (Wilson). Lengths are in tokens, the closing `.` included.

| | sampled, T = 1 | greedy |
|---|---|---|
{rows}

Sampled, by the number of checks in the response:

| checks | responses | accuracy |
|---|---|---|
{checks}

## Made with

    {command}

{updates} updates of 48 documents, {tokens:,} document tokens (loss on the response only), AdamW at 4e-3 with
a cosine schedule, {seconds:.0f} s on {threads} CPU thread(s); last training loss {loss:.3f}. Seed {seed}; torch
{torch}, transformers {transformers}, Python {python}. The same command on another processor or torch
version may give other weights.
"""


def _share(count: int, n: int) -> str:
    estimate = share(count, n)
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _rows(sampled: Measurement, greedy: Measurement) -> str:
    both = (sampled, greedy)
    table = {
        "accuracy": [_share(m.correct, m.n) for m in both],
        "mean length": [f"{m.length_mean:.1f}" for m in both],
        "length quartiles": [" / ".join(f"{q:.0f}" for q in m.length_quartiles) for m in both],
        "wrong at first, right in the end (aha)": [_share(m.aha, m.n) for m in both],
        "right at first, wrong in the end (oops)": [_share(m.oops, m.n) for m in both],
        "not ended within 144 tokens": [_share(m.truncated, m.n) for m in both],
    }
    return "\n".join(f"| {name} | {' | '.join(cells)} |" for name, cells in table.items())


def model_card(
    sampled: Measurement,
    greedy: Measurement,
    summary: TrainingSummary,
    *,
    parameters: int,
    seed: int,
    threads: int,
) -> str:
    """The card as Markdown. It names no folder of the machine that it was made on."""
    command = f"python -m fipo.demo.pretrain --out DIR --updates {summary.updates} --seed {seed} --threads {threads}"
    checks = "\n".join(f"| {count} | {n} | {_share(right, n)} |" for count, (right, n) in sampled.by_checks.items())
    return _CARD.format(
        parameters=parameters,
        n=sampled.n,
        rows=_rows(sampled, greedy),
        checks=checks,
        command=command,
        updates=summary.updates,
        tokens=summary.tokens,
        seconds=summary.seconds,
        threads=threads,
        loss=summary.loss,
        seed=seed,
        torch=torch.__version__.split("+")[0],
        transformers=transformers.__version__,
        python=platform.python_version(),
    )
