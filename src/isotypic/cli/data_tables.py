"""What is found in a data set, as tables in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from isotypic.cli.data_request import AnyDataConfig
from isotypic.data.config import CandidateDataConfig
from isotypic.data.inspection.candidates import CandidateInspection, CandidatePart
from isotypic.data.inspection.classified import Inspection, Part
from isotypic.data.inspection.copies import Copies
from isotypic.data.inspection.labelled import LabelledInspection, LabelledPart
from isotypic.data.inspection.scans import Headers, Millimetres, ScanInspection
from isotypic.data.normalisation import Normalisation

MOST = 20
"""Classes that are shown."""

Facts = Iterable[tuple[str, str]]
AnyPart = Part | LabelledPart | CandidatePart

_SUBSETS = "the study of nodules has --set data.test_subsets=[9] --set data.validation_subsets=[8]"


Seen = Inspection | LabelledInspection | CandidateInspection


def say(console: Console, seen: Seen, config: AnyDataConfig) -> None:
    """Print what is in a set, and what should be looked at."""
    split = ("split", _split(seen.parts, config))
    if isinstance(seen, CandidateInspection):
        facts, counts = _of_candidates(seen, split)
    else:
        known, counts = _of_classes(seen) if isinstance(seen, Inspection) else _of_objects(seen)
        facts = (*known, split, *_measured(seen.normalisation, seen.copies))
    _say_facts(console, f"{escape(seen.name)}, read as {config.dataset}", facts)
    console.print(counts)
    _say_strange(console, seen)


def say_scans(console: Console, seen: ScanInspection) -> None:
    """Print what the headers of scans without candidates say."""
    facts = (*_of_headers(seen.headers), ("copies", f"{seen.copies.images:,} scans" if seen.copies.images else "none"))
    _say_facts(console, f"{escape(seen.name)}, scans without candidates", facts)
    _say_strange(console, seen)


def _say_facts(console: Console, title: str, facts: Facts) -> None:
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in facts:
        table.add_row(name, escape(value))
    console.print(table)


def _say_strange(console: Console, seen: Seen | ScanInspection) -> None:
    """Print copies and warnings."""
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


def _of_headers(headers: Headers) -> Facts:
    smallest, largest = (" x ".join(map(str, size)) for size in headers.sizes)
    sizes = smallest if smallest == largest else f"{smallest} to {largest}"
    yield "scans", f"{headers.scans:,} of {sizes} voxels (z, y, x)"
    yield "spacing", f"{_ranges(headers.spacings, 3)} mm (z, y, x)"
    yield "extent", f"{_ranges(headers.extents, 0)} mm (z, y, x)"
    turned = {"flipped": headers.flipped, "exchanged": headers.exchanged, "oblique": headers.oblique}
    said = ", ".join(f"{name} in {count:,}" for name, count in turned.items() if count)
    yield "axes", f"{said} of {headers.scans:,} scans" if said else "along the world's"
    yield (
        "values",
        ", ".join(
            name if len(headers.value_types) == 1 else f"{name} in {count:,}"
            for name, count in headers.value_types.items()
        ),
    )


def _of_candidates(seen: CandidateInspection, split: tuple[str, str]) -> tuple[Facts, Table]:
    parts = seen.parts.values()
    size, spacing = (" x ".join(f"{number:g}" for number in each) for each in (seen.lattice.size, seen.lattice.spacing))
    candidates = sum(part.positive + part.others for part in parts)
    unmeasured = f"; {seen.unmeasured:,} not measured" if seen.unmeasured else ""
    facts = [
        *_of_headers(seen.headers),
        ("patches", f"{size} points, {spacing} mm apart (z, y, x)"),
        ("outside", f"{seen.reaching:,} of {candidates:,} patches reach outside their scan, where air is taken"),
        ("diameters", ("none" if seen.diameters is None else _diameters(*seen.diameters)) + unmeasured),
        ("ceiling", _ceiling(seen.parts["test"])),
        split,
        ("copies", _copies(seen.copies, "scans")),
    ]
    table = _table("", seen.parts)
    for name, counts in (
        ("scans", [part.scans for part in parts]),
        ("  without a nodule", [part.without_nodule for part in parts]),
        ("nodules", [part.nodules for part in parts]),
        ("  hit by no candidate", [part.missed for part in parts]),
        ("candidates in nodules", [part.positive for part in parts]),
        ("other candidates", [part.others for part in parts]),
        ("excluded findings", [part.excluded for part in parts]),
    ):
        table.add_row(name, *_summed(counts))
    return facts, table


def _ceiling(test: CandidatePart) -> str:
    if test.ceiling is None:
        return "the test has no nodules"
    if not test.missed:
        return "100%: every nodule of the test is hit by a candidate"
    return f"{test.ceiling:.1%} of the nodules of the test are hit by a candidate: no sensitivity is higher"


def _diameters(least: float, median: float, largest: float) -> str:
    return f"{least:.1f} to {largest:.1f} mm (median {median:.1f})"


def _ranges(ends: tuple[Millimetres, Millimetres], digits: int) -> str:
    """Return what lies between two ends, an axis after the other."""
    texts = [[f"{value:.{digits}f}" for value in pair] for pair in zip(*ends, strict=True)]
    return " x ".join(low if low == high else f"{low}-{high}" for low, high in texts)


def _measured(fit: Normalisation, copies: Copies) -> Facts:
    mean, deviation = (", ".join(f"{value:.4f}" for value in values) for values in (fit.mean, fit.std))
    yield "mean", f"{mean} of full white, in the training part"
    yield "deviation", deviation
    yield "copies", _copies(copies)


def _copies(copies: Copies, unit: str = "images") -> str:
    return f"{copies.images:,} {unit}, {copies.across:,} of them across parts" if copies.images else "none"


def _split(parts: Mapping[str, AnyPart], config: AnyDataConfig) -> str:
    given, made = ([name for name, part in parts.items() if part.given is own] for own in (True, False))
    own = [f"{', '.join(given)}: the set's own"] if given else []
    own += [f"{', '.join(made)}: made with data.split_seed={config.split_seed}"] if made else []
    if not given and isinstance(config, CandidateDataConfig):
        own.append(_SUBSETS)
    return "; ".join(own)


def _table(first: str, parts: Mapping[str, AnyPart]) -> Table:
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
