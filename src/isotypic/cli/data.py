"""``isotypic data``: what a data set holds, and the same data set as a folder of PNG files."""

from __future__ import annotations

import typer

from isotypic.cli import data_convert, data_inspect

EXAMPLE = "Example: isotypic data inspect photos/"

command = typer.Typer(no_args_is_help=True)
command.command("inspect", help=f"{data_inspect.SUMMARY}\n\n{data_inspect.EXAMPLE}")(data_inspect.command)
command.command("convert", help=f"{data_convert.SUMMARY}\n\n{data_convert.EXAMPLE}")(data_convert.command)
