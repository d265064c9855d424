"""``isotypic data``: what a data set holds, the same data set as a folder of images, and one that is made."""

from __future__ import annotations

import typer

from isotypic.cli import data_convert, data_inspect, data_make

EXAMPLE = "Example: isotypic data inspect photos/"

command = typer.Typer(no_args_is_help=True)
for name, module in {"inspect": data_inspect, "convert": data_convert, "make": data_make}.items():
    command.command(name, help=f"{module.SUMMARY}\n\n{module.EXAMPLE}")(module.command)
