"""The command line: one thin file per command; user mistakes end as one line, without a traceback."""

from __future__ import annotations

import io
import os
import sys


def run() -> None:
    """Entry point of the `fipo` command."""
    try:
        import rich
        import typer
    except ImportError:
        sys.exit('the command line needs typer and rich: pip install "fipo[cli]" (training: "fipo[train]")')
    del rich, typer
    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows ASCII alone gets question marks for the rest.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # Model folders are given or downloaded by name; the hub's own progress lines would tear the live display.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from fipo.cli.errors import show_error
    from fipo.errors import FIPOError

    try:
        from fipo.cli.app import run_app

        sys.exit(run_app())
    except FIPOError as error:
        sys.exit(show_error(error))
    except KeyboardInterrupt:
        show_error("interrupted")
        sys.exit(130)
    except ModuleNotFoundError as error:
        if error.name is None:
            sys.exit(show_error(error))
        sys.exit(show_error(f"the package {error.name} is missing: {install_hint(error.name)}"))
    except OSError as error:
        if error.errno is None:
            raise
        sys.exit(show_error(f"{error.strerror}: {error.filename or 'while writing'}"))


def install_hint(package: str) -> str:
    """How to get a missing package."""
    extras = {
        "lora": ("peft",),
        "vllm": ("vllm",),
        "eval": ("transformers", "datasets", "math_verify", "pyarrow", "safetensors", "numpy", "openai"),
        "train": ("trl", "accelerate", "matplotlib"),
    }
    extra = next((name for name, packages in extras.items() if package.split(".")[0] in packages), None)
    return f'pip install "fipo[{extra}]"' if extra else f"pip install {package}"
