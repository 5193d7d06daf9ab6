"""All commands in one Typer application."""

from __future__ import annotations

import typer

from fipo import __version__
from fipo.cli.demo import demo
from fipo.cli.train import train

app = typer.Typer(
    name="fipo",
    help="FIPO: per-token credit for reinforcement learning from verifiable rewards.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command()(train)


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
