"""What is found in a data set, as tables in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from isotypic.cli.data_request import AnyDataConfig
from isotypic.data.inspection.classified import Inspection, Part
from isotypic.data.inspection.copies import Copies
from isotypic.data.inspection.labelled import LabelledInspection, LabelledPart
from isotypic.data.normalisation import Normalisation

MOST = 20
"""Classes that are shown."""

Facts = Iterable[tuple[str, str]]


def say(console: Console, seen: Inspection | LabelledInspection, config: AnyDataConfig) -> None:
    """Print what is in a set, and what should be looked at."""
    facts, counts = _of_classes(seen) if isinstance(seen, Inspection) else _of_objects(seen)
    table = Table(title=f"{escape(seen.name)}, read as {config.dataset}", title_justify="left", show_header=False)
    for name, value in (*facts, ("split", _split(seen.parts, config)), *_measured(seen.normalisation, seen.copies)):
        table.add_row(name, escape(value))
    console.print(table)
    console.print(counts)
    for group in seen.copies.examples:
        console.print(f"copies: {' = '.join(group)}", highlight=False, markup=False, soft_wrap=True)
    for warning in seen.warnings:
        console.print("[bold yellow]look:[/]", end=" ")
        console.print(warning, highlight=False, markup=False, soft_wrap=True)


def _of_classes(seen: Inspection) -> tuple[Facts, Table]:
    channels, *space = seen.shape
    unit = "voxels" if len(space) == 3 else "pixels"
    known = seen.parts["train"].patients is not None
    facts = [
        ("images", f"{seen.images:,} of {' x '.join(map(str, space))} {unit}, {_channels(channels)}, {seen.dtype}"),
        ("classes", _some(seen.classes)),
        ("patients", "none is in two parts" if known else "not known: that none is in two parts cannot be checked"),
    ]
    if seen.grey_auc is not None:
        facts.append(("grey-level AUC", f"{seen.grey_auc:.3f} by the mean of an image alone; .5 is chance"))
    table = _table("class", seen.parts)
    for label in seen.classes[:MOST]:
        table.add_row(escape(label), *_summed([part.classes[label] for part in seen.parts.values()]))
    if len(seen.classes) > MOST:
        table.add_row(f"... {len(seen.classes) - MOST} more")
    _add_sums(table, "patients", [(part.images, part.patients) for part in seen.parts.values()])
    return facts, table


def _of_objects(seen: LabelledInspection) -> tuple[Facts, Table]:
    smallest, largest = (f"{height} x {width}" for height, width in seen.sizes)
    sizes = smallest if smallest == largest else f"{smallest} to {largest}"
    facts = [("images", f"{seen.images:,} of {sizes} pixels, {_channels(seen.channels)}, {seen.dtype}")]
    if seen.classes is not None:
        facts.append(("labels", f"classes {_some(seen.classes)}"))
    if seen.objects is not None:
        least, median, most = seen.objects
        range_ = f"{least:,}" if least == most else f"{least:,} to {most:,} (median {median:g})"
        facts.append(("labels", f"{range_} objects an image"))
    facts.append(("labelled", f"{seen.labelled:.1%} of the pixels"))
    table = _table("", seen.parts)
    for kind in dict.fromkeys(kind for part in seen.parts.values() for kind in part.kinds):
        table.add_row(escape(kind), *_summed([part.kinds.get(kind, 0) for part in seen.parts.values()]))
    _add_sums(table, "sources", [(part.images, part.sources) for part in seen.parts.values()])
    objects = [part.objects for part in seen.parts.values() if part.objects is not None]
    if objects:
        table.add_row("objects", *_summed(objects))
    return facts, table


def _measured(fit: Normalisation, copies: Copies) -> Facts:
    mean, deviation = (", ".join(f"{value:.4f}" for value in values) for values in (fit.mean, fit.std))
    yield "mean", f"{mean} of full white, in the training part"
    yield "deviation", deviation
    yield "copies", f"{copies.images:,} images, {copies.across:,} of them across parts" if copies.images else "none"


def _split(parts: Mapping[str, Part | LabelledPart], config: AnyDataConfig) -> str:
    given, made = ([name for name, part in parts.items() if part.given is own] for own in (True, False))
    own = [f"{', '.join(given)}: the set's own"] if given else []
    return "; ".join(own + ([f"{', '.join(made)}: made with data.split_seed={config.split_seed}"] if made else []))


def _table(first: str, parts: Mapping[str, Part | LabelledPart]) -> Table:
    table = Table(first, title_justify="left")
    for name in (*parts, "all"):
        table.add_column(name, justify="right")
    return table


def _add_sums(table: Table, grouped: str, counts: Sequence[tuple[int, int | None]]) -> None:
    """Add the row of all images, and that of what they are grouped by."""
    table.add_section()
    table.add_row("images", *_summed([images for images, _ in counts]))
    groups = [groups for _, groups in counts if groups is not None]
    if groups:
        table.add_row(grouped, *_summed(groups))


def _summed(counts: Sequence[int]) -> list[str]:
    return [f"{count:,}" for count in (*counts, sum(counts))]


def _channels(count: int) -> str:
    return {1: "grey", 3: "RGB"}.get(count, f"{count} channels")


def _some(classes: Sequence[str]) -> str:
    return f"{len(classes)}: {', '.join(classes[:MOST])}{', ...' if len(classes) > MOST else ''}"
