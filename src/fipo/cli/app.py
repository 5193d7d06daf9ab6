"""All commands in one Typer application."""

from __future__ import annotations

import typer

from fipo import __version__
from fipo.cli.compare import compare
from fipo.cli.demo import demo
from fipo.cli.evaluate import evaluate
from fipo.cli.train import train

INTERRUPTED = 130

app = typer.Typer(
    name="fipo",
    help="FIPO: per-token credit for reinforcement learning from verifiable rewards.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command()(train)
app.command("eval")(evaluate)
app.command()(compare)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fipo {__version__}")
        raise typer.Exit()


@app.callback()
def main(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version and leave."
    ),
) -> None:
    """FIPO: per-token credit for reinforcement learning from verifiable rewards."""


def run_app() -> int:
    """Run the command line and give its exit code. Raises what the commands raise; Ctrl-C as KeyboardInterrupt."""
    command = typer.main.get_command(app)
    try:
        code = int(command.main(standalone_mode=False) or 0)
    except typer.Abort:
        code = INTERRUPTED
    except Exception as error:
        # Wrong flags: Typer's own message, without a traceback.
        if not hasattr(error, "exit_code") or not hasattr(error, "format_message"):
            raise
        from typer.rich_utils import rich_format_error

        rich_format_error(error)  # type: ignore[arg-type]
        return int(error.exit_code)
    if code == INTERRUPTED:
        # Typer has turned Ctrl-C into an exit code without a word.
        raise KeyboardInterrupt
    return code
