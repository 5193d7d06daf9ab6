"""The settings of an evaluation: what decides the responses, and what only decides how fast they come."""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fipo.errors import FIPOError, nearest

ENGINES = ("auto", "transformers", "vllm", "server")
DTYPES = ("auto", "float32", "bfloat16", "float16")
MOST = 10**9
DEFAULT_MAX_TOKENS = 20_480
"""Length limit where none is given and the model takes as much: that of the paper's 32B run."""


@dataclass(frozen=True)
class EvalSettings:
    """What decides the responses and verdicts; an evaluation is continued only with the same ones.

    Args:
        model: folder, run folder, hub name, "arithmetic-base", or with the engine "server" the served name.
        data: files, short names or hub ids; "arithmetic" is the embedded task.
        n: responses per problem.
        temperature, top_p: of the sampling; 1.0 and 0.7 are the paper's protocol. 0 decodes greedily.
        max_tokens: length limit of a response; None takes what the model's context leaves, at most 20,480.
        seed: of the sampling.
        limit: only the first so many problems of each data set.
        prompt_style: "dapo", "boxed", "chat", "raw"; None keeps prompts that are already written as chats, else "dapo".
        problem_key, answer_key, split: how to read the data (`fipo.tasks.load_problems`).
        allow_last_number: take the last number of a response that marks no answer.
        engine: "transformers", "vllm", "server"; "auto" takes vLLM where it is installed.
        dtype: precision of the weights; "auto" is that of the model's files (with vLLM, half of float32).
        trust_remote_code: run code that comes with a model.

    Raises:
        FIPOError: a value out of its range.
    """

    model: str
    data: tuple[str, ...]
    n: int = 32
    temperature: float = 1.0
    top_p: float = 0.7
    max_tokens: int | None = None
    seed: int = 0
    limit: int | None = None
    prompt_style: str | None = None
    problem_key: str | None = None
    answer_key: str | None = None
    split: str | None = None
    allow_last_number: bool = False
    engine: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.data, str):
            object.__setattr__(self, "data", (self.data,))
        if not self.data:
            raise FIPOError("no data: give --data FILE_OR_NAME, several with commas")
        _at_least("n", self.n, 1)
        _at_least("seed", self.seed, 0)
        for name, value in (("max-tokens", self.max_tokens), ("limit", self.limit)):
            if value is not None:
                _at_least(name, value, 1, MOST)
        if not (self.temperature == 0 or 0.001 <= self.temperature <= 2):
            raise FIPOError(f"--temperature {self.temperature} must be 0 (greedy), or from 0.001 to 2")
        if not 0 < self.top_p <= 1:
            raise FIPOError(f"--top-p {self.top_p} must be above 0 and at most 1")
        if self.temperature == 0 and self.n > 1:
            raise FIPOError(f"--temperature 0 decodes greedily, so that all {self.n} responses are one: give --n 1")
        _one_of("engine", self.engine, ENGINES)
        _one_of("dtype", self.dtype, DTYPES)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `config.json`."""
        return {**dataclasses.asdict(self), "data": list(self.data)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EvalSettings:
        """The settings in a `config.json`, which may hold more."""
        chosen = {}
        for name, expected in typing.get_type_hints(cls).items():
            if name not in values:
                continue
            value = tuple(values[name]) if name == "data" and isinstance(values[name], list) else values[name]
            allowed = [typing.get_origin(kind) or kind for kind in typing.get_args(expected) or (expected,)]
            kinds = (tuple,) if name == "data" else (*allowed, int) if float in allowed else tuple(allowed)
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise FIPOError(f"the setting {name} of this evaluation is broken: config.json has {value!r:.60}")
            if name == "data" and not all(isinstance(source, str) for source in value):
                raise FIPOError(f"the setting data of this evaluation is broken: config.json has {list(value)!r:.60}")
            chosen[name] = value
        if "model" not in chosen or "data" not in chosen:
            raise FIPOError("the settings of this evaluation are incomplete: config.json names no model or no data")
        return cls(**chosen)


@dataclass(frozen=True)
class Runtime:
    """Where and how fast; free to differ when an evaluation is continued.

    Args:
        batch_size: responses under way at once with transformers (default 32) or a server (default 64).
        device: for transformers; "auto" takes the GPU where there is one.
        tensor_parallel: GPUs that share the model with vLLM.
        gpu_memory: share of the GPU's memory that vLLM takes.
        base_url: of an OpenAI-compatible server; the key is read from OPENAI_API_KEY.
    """

    batch_size: int | None = None
    device: str = "auto"
    tensor_parallel: int = 1
    gpu_memory: float = 0.9
    base_url: str | None = None

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            _at_least("batch-size", self.batch_size, 1)
        _at_least("tensor-parallel", self.tensor_parallel, 1)
        if not 0 < self.gpu_memory <= 1:
            raise FIPOError(f"--gpu-memory {self.gpu_memory} must be above 0 and at most 1")


def parse_counts(text: str | None, n: int) -> tuple[int, ...]:
    """The k of pass@k and maj@k: from text such as "1,8,32", or powers of two up to `n` (and `n`).

    Raises `FIPOError` for a k that is no whole number from 1 to `n`.
    """
    if text is None:
        return tuple(sorted({*(1 << power for power in range(n.bit_length())), n}))
    counts = []
    for part in text.split(","):
        if not part.strip().isdecimal() or not 1 <= int(part) <= n:
            raise FIPOError(
                f"--k {part.strip()!r} must be a whole number from 1 to {n}, the responses per problem (--n)"
            )
        counts.append(int(part))
    return tuple(sorted(set(counts)))


def split_names(values: Sequence[str]) -> tuple[str, ...]:
    """Names given with commas, or several times. A file whose own name holds a comma stays whole."""
    names: list[str] = []
    for value in values:
        parts = [value] if os.path.exists(value) else value.split(",")
        names += [part.strip() for part in parts if part.strip()]
    return tuple(names)


def _at_least(name: str, value: int, least: int, most: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        raise FIPOError(f"--{name} {value!r} must be a whole number from {least} {f'to {most}' if most else 'up'}")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise FIPOError(f"--{name} {value!r} must be one of {', '.join(allowed)}{nearest(str(value), allowed)}")
