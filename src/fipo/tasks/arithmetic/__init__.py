"""Arithmetic modulo 10 with checks: problems, corpus, verifier and a small base model, all offline.

Importing this package loads neither torch nor transformers; `build_tokenizer` does so when it is first used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fipo.tasks.arithmetic.corpus import Document, Mixture, sample_document
from fipo.tasks.arithmetic.problem import Problem, generate_problems, held_out_problems, sample_problem
from fipo.tasks.arithmetic.verify import (
    ParsedResponse,
    arithmetic_reward,
    grade_arithmetic,
    moment,
    parse_response,
)

if TYPE_CHECKING:
    from fipo.tasks.arithmetic.tokenizer import build_tokenizer

__all__ = [
    "Document",
    "Mixture",
    "ParsedResponse",
    "Problem",
    "arithmetic_reward",
    "base_model_path",
    "build_tokenizer",
    "generate_problems",
    "grade_arithmetic",
    "held_out_problems",
    "moment",
    "parse_response",
    "sample_document",
    "sample_problem",
]


def base_model_path() -> Path:
    """The folder of the base model that ships with the package, ready for `from_pretrained`."""
    return Path(__file__).resolve().parent / "base"


def __getattr__(name: str) -> Any:
    if name == "build_tokenizer":
        from fipo.tasks.arithmetic.tokenizer import build_tokenizer

        return build_tokenizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
