"""How a mistake is shown: one line on standard error."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text


def show_error(error: object) -> int:
    """Print `error` as one line and give the exit code 1."""
    line = " ".join(str(error).split())
    Console(stderr=True, soft_wrap=True).print(Text.assemble(("error: ", "bold red"), line))
    return 1
