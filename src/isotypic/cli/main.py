"""The ``isotypic`` command: a table of commands, of which only the one asked for is imported.

Exit codes: 0 done, 1 failed, 2 the request was wrong, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

import typer
from rich.console import Console
from rich.markup import escape

from isotypic import __version__
from isotypic.errors import RequestError, RunFailed

COMMANDS = {
    "study": "Answer the question: build the symmetry in, or augment the data?",
    "train": "Train the network of a recipe once.",
    "evaluate": "Score a trained run, upright and under every element of a group.",
    "predict": "Classify images, whole slides, or candidates in scans with a trained run.",
    "segment": "Find instances in an image or a folder of images with a trained run.",
    "check": "Does a network commute with a group, and which layer breaks it?",
    "export": "Write a trained run as one file that runs without this library.",
    "bench": "Time equivariant layers against the plain ones.",
    "data": "Look into a data set, write it as a folder of images, or make one.",
}


RESUMED = ("study", "train", "segment", "predict", "data convert", "data make")
"""Commands that go on where they were stopped."""


def application(asked: str | None) -> typer.Typer:
    """Return the command line with one command loaded; the others only show their help line.

    Args:
        asked: the first argument, or None; so ``isotypic --help`` does not load torch.
    """
    app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_root)
    for name, summary in COMMANDS.items():
        if name == asked:
            _add(app, name, summary)
        else:
            app.command(name, help=summary)(_not_loaded(name))
    return app


def run(arguments: list[str]) -> None:
    """Run one command line as a process of several does; what goes wrong is raised."""
    words = [word for word in arguments if not word.startswith("-")]
    application(words[0] if words else None)(arguments, standalone_mode=False)


def main() -> None:
    """Run the command line and exit with its code."""
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    try:
        application(words[0] if words else None)()
    except RequestError as error:
        errors.print(f"[bold red]error:[/] {escape(str(error))}")
        sys.exit(2)
    except RunFailed as error:
        errors.print(f"[bold red]failed:[/] {escape(str(error))}")
        sys.exit(1)
    except KeyboardInterrupt:
        resumed = " ".join(words).startswith(RESUMED)
        errors.print("stopped; the same command goes on from here" if resumed else "stopped")
        sys.exit(130)


def _add(app: typer.Typer, name: str, summary: str) -> None:
    """Load a command, or a group of commands."""
    module = import_module(f"isotypic.cli.{name}")
    summary = f"{summary}\n\n{module.EXAMPLE}"
    if isinstance(module.command, typer.Typer):
        app.add_typer(module.command, name=name, help=summary)
    else:
        app.command(name, help=summary)(module.command)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"isotypic {__version__}")
        raise typer.Exit


def _root(
    version: bool = typer.Option(False, "--version", callback=_say_version, is_eager=True, help="Say the version."),
) -> None:
    """Deep learning that is exactly equivariant to a symmetry group."""


def _not_loaded(name: str) -> Callable[[], None]:
    def command() -> None:
        raise RuntimeError(f"isotypic {name} was called without being loaded")

    return command


if __name__ == "__main__":
    main()
