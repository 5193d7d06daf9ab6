"""Errors that a user can mend: one line that names the value, the allowed range and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FIPOError(ValueError):
    """A mistake in what the user gave (a setting, a file, a reward); the CLI prints it without a traceback."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` for the known name closest to `name`, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
