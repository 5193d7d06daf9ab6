"""The command line: one thin file per command; user mistakes end as one line, without a traceback."""

from __future__ import annotations

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
    # Model folders are given or downloaded by name; the hub's own progress lines would tear the live display.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from fipo.cli.app import app
    from fipo.cli.errors import show_error
    from fipo.errors import FIPOError

    try:
        app()
    except FIPOError as error:
        sys.exit(show_error(error))
    except KeyboardInterrupt:
        sys.exit(show_error("interrupted"))
    except ModuleNotFoundError as error:
        sys.exit(show_error(f'the package {error.name} is missing: pip install "fipo[train]"'))
    except OSError as error:
        # Libraries write checkpoints themselves; a full disk must not end in their traceback.
        if error.errno is None:
            raise
        sys.exit(show_error(f"{error.strerror}: {error.filename or 'while writing'}"))
