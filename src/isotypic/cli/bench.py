"""``isotypic bench``: equivariant layers and networks against the plain ones."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from isotypic.bench.records import Report, Result, changes, read_for, resumed, warnings
from isotypic.bench.runner import run
from isotypic.bench.setting import MATCHES, Device, Dtype, Mode, Setting, machine, resolved_device
from isotypic.bench.subjects import SUBJECTS
from isotypic.bench.summary import SLOWER, summarise
from isotypic.errors import RequestError, unknown
from isotypic.nn.compute import Compute
from isotypic.studies.environment import commit

EXAMPLE = "Example: isotypic bench layers --channels 128 --batch 16 --out layers.json"
MIB = 2**20


def _words(members: Iterable[Any]) -> str:
    return ", ".join(member.value for member in members)


SubjectArgument = Annotated[str, typer.Argument(help=f"What is timed: {', '.join(SUBJECTS)}.")]
Groups = Annotated[
    list[str] | None, typer.Option("--group", help="Group; may be repeated, as may the next six; default all.")
]
Kernels = Annotated[list[int] | None, typer.Option("--kernel", help="Taps along each axis; default the grid.")]
Channels = Annotated[list[int] | None, typer.Option("--channels", help="Total channels; default the grid.")]
Sizes = Annotated[list[int] | None, typer.Option("--size", help="Side of the image or volume; default the grid.")]
Batches = Annotated[list[int] | None, typer.Option("--batch", help="Images at once; default the grid.")]
Modes = Annotated[list[str] | None, typer.Option("--mode", help=f"{_words(Mode)}; default both.")]
Networks = Annotated[list[str] | None, typer.Option("--network", help="resnet18, densenet, resnet3d; default all.")]
Dim = Annotated[int | None, typer.Option("--dim", help="2 for images, 3 for volumes; layers: default 2.")]
Matched = Annotated[str, typer.Option("--match", help=f"What both have in common: {_words(MATCHES)}.")]
Memory = Annotated[bool, typer.Option("--memory", help="Peak memory of layers too, a process each; networks always.")]
Compared = Annotated[Path | None, typer.Option("--compare", help="An earlier --out; exit code 1 if slower than it.")]


def command(
    subject: SubjectArgument = "layers",
    group: Groups = None,
    kernel: Kernels = None,
    channels: Channels = None,
    size: Sizes = None,
    batch: Batches = None,
    mode: Modes = None,
    network: Networks = None,
    dim: Dim = None,
    compute: Annotated[str, typer.Option("--compute", help=f"{_words(Compute)}.")] = "auto",
    dtype: Annotated[str, typer.Option("--dtype", help=f"{_words(Dtype)}.")] = "float32",
    match: Matched = "channels",
    device: Annotated[str, typer.Option("--device", help=f"{_words(Device)}.")] = "cpu",
    memory: Memory = False,
    seconds: Annotated[float, typer.Option("--seconds", min=0.0, help="Time to spend on a case.")] = 1.0,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Compute threads; default torch's.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="JSON file; the same command goes on with it.")] = None,
    compare: Compared = None,
) -> None:
    """Time forward and training step in turns with torch's own layers, channels_last, of the same channels."""
    if out and compare and out.resolve() == compare.resolve():
        raise RequestError(f"expected --compare to be another file than --out, received {out} twice")
    chosen = SUBJECTS.get(subject)
    if chosen is None:
        raise unknown("subject", subject, SUBJECTS)
    if threads:
        torch.set_num_threads(threads)
    entries = {"group": group, "kernel": kernel, "channels": channels, "size": size}
    entries |= {"batch": batch, "mode": mode, "network": network}
    setting = Setting(dtype, compute, match, resolved_device(device), seconds, memory)
    cases, left_out = chosen.select({name: tuple(v) for name, v in entries.items() if v}, dim, setting)
    report = resumed(out, Report(chosen, machine(setting.device), setting))
    earlier = read_for(compare, chosen, cases) if compare else None
    console = Console()
    _open(console, report, cases, left_out)
    report = _follow(console, report, cases, out)
    if earlier and _compare(console, earlier, report, cases):
        raise typer.Exit(1)


def _open(console: Console, report: Report, cases: list[Any], left_out: int) -> None:
    done = sum(case in report.results for case in cases)
    large = f"; {left_out} are left out: too large, or channels that are no whole fields" if left_out else ""
    console.print(f"cases: {len(cases)}, to measure: {len(cases) - done}{large}", highlight=False, soft_wrap=True)
    if done and report.machine["commit"] != commit():
        console.print(f"the others were measured at {report.machine['commit']}", highlight=False, style="yellow")


def _follow(console: Console, start: Report, cases: list[Any], out: Path | None) -> Report:
    """Measure what is missing with a bar and the time left, then draw the tables; also when interrupted."""
    report, todo = start, [case for case in cases if case not in start.results]
    columns = (BarColumn(bar_width=None), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal, expand=True)
    task = bar.add_task("", total=len(cases), completed=len(cases) - len(todo), left="")
    begun = time.monotonic()
    try:
        with bar:
            for done, report in enumerate(run(start, todo, out), 1):
                left = timedelta(seconds=round((time.monotonic() - begun) * (len(todo) - done) / done))
                bar.update(task, advance=1, left=f"{left} left")
                said = _line(report.results[todo[done - 1]])
                console.print(
                    f"[{done}/{len(todo)}] {said}; {left} left", highlight=False, markup=False, soft_wrap=True
                )
    except KeyboardInterrupt:
        _conclude(console, report, cases, out)
        if out:
            raise
        console.print("stopped; with --out the same command could go on from here", style="yellow")
        raise typer.Exit(130) from None
    _conclude(console, report, cases, out)
    return report


def _conclude(console: Console, report: Report, cases: list[Any], out: Path | None) -> None:
    results = [report.results[case] for case in cases if case in report.results]
    if not results:
        return
    for table in TABLES[report.subject.name](results):
        console.print(table)
    console.print(str(summarise(results)), highlight=False, style="bold")
    if out:
        console.print(f"figures: {out.resolve()}", highlight=False, soft_wrap=True)


def _compare(console: Console, earlier: Report, report: Report, cases: list[Any]) -> bool:
    """Print how every case changed, and return whether any got slower by more than its spread."""
    for warning in warnings(earlier, report):
        console.print(f"warning: not the same: {warning}", highlight=False, style="yellow", soft_wrap=True)
    found = list(changes(earlier, [report.results[case] for case in cases]))
    table = Table("case", title="speed-up before and after", title_justify="left")
    for column in ("before", "after", "change", ""):
        table.add_column(column, justify="right")
    for change in found:
        figures = (f"{change.before.speed_up:.2f}", f"{change.after.speed_up:.2f}", f"{change.change:+.1%}")
        table.add_row(str(change.case), *figures, "[bold red]slower[/]" if change.is_slower else "")
    console.print(table)
    slower = sum(change.is_slower for change in found)
    counts = f"{len(found)} cases compared, {len(cases) - len(found)} not in the earlier file"
    console.print(f"{counts}, {slower} slower by more than their spread", highlight=False, style="bold")
    return slower > 0


def _line(result: Result) -> str:
    """Say what was measured of a case in one line."""
    speed, facts = result.speed, result.facts
    times = f"{speed.ours_ms:.3g} ms, plain {speed.plain_ms:.3g} ms"
    words = [times, f"error {facts['error']:.0e}, plain {facts['plain_error']:.0e}"]
    words += [facts["way"]] if "way" in facts else []
    if facts.get("ours_channels") != facts.get("plain_channels"):
        words += [f"{facts['ours_channels']} channels, {_parameters(facts)} parameters"]
    words += [f"memory {_memory(facts)}"] if "memory" in facts else []
    words += [f"{name} {peer['speed_up']:.2f}x" for name, peer in facts.get("peers", {}).items()]
    return f"{result.case}: {speed.speed_up:.2f}x ± {speed.spread:.0%} ({'; '.join(words)})"


def _memory(facts: dict[str, Any]) -> str:
    ours, plain = facts["memory"], facts["plain_memory"]
    if ours is None or plain is None:
        return "not measured"
    times = f" = {ours / plain:.2f}x" if plain else ""
    return f"{ours / MIB:.1f} of {plain / MIB:.1f} MiB{times}"


def _parameters(facts: dict[str, Any]) -> str:
    return f"{facts['parameters'] / 1e6:.3g} of {facts['plain_parameters'] / 1e6:.3g} M"


def _layer_tables(results: list[Result]) -> Iterator[Table]:
    """Yield the speed-ups, a table for each group and mode: rows kernel, batch and channels, columns sizes."""
    sizes = sorted({result.case.size for result in results})
    for group, mode in dict.fromkeys((r.case.group, r.case.mode) for r in results):
        table = Table(title=f"{group} {mode}: speed-up", title_justify="left")
        for name in ("kernel", "batch", "channels", *map(str, sizes)):
            table.add_column(name, justify="right")
        here = {r.case: r for r in results if (r.case.group, r.case.mode) == (group, mode)}
        for kernel, batch, channels in sorted({(c.kernel, c.batch, c.channels) for c in here}):
            cells = [_cell(here, kernel=kernel, batch=batch, channels=channels, size=size) for size in sizes]
            table.add_row(str(kernel), str(batch), str(channels), *cells)
        yield table


def _cell(results: dict[Any, Result], **wanted: int) -> str:
    found = (r for c, r in results.items() if all(getattr(c, name) == value for name, value in wanted.items()))
    return next((_coloured(result) for result in found), "")


def _coloured(result: Result) -> str:
    ratio = result.speed.speed_up
    return f"[red]{ratio:.2f}[/]" if ratio < SLOWER else f"{ratio:.2f}"


def _network_tables(results: list[Result]) -> Iterator[Table]:
    """Yield speed-up, parameters, error and memory, a table for each mode."""
    for mode in dict.fromkeys(result.case.mode for result in results):
        table = Table("network", "group", title=f"{mode}: against the plain network", title_justify="left")
        for name in ("input", "speed-up", "parameters", "error", "memory"):
            table.add_column(name, justify="right")
        for result in (r for r in results if r.case.mode == mode):
            case, facts = result.case, result.facts
            figures = (_coloured(result), _parameters(facts), f"{facts['error']:.0e}", _memory(facts))
            table.add_row(case.network, case.group, f"{case.batch} x {case.size}", *figures)
        yield table


TABLES = {"layers": _layer_tables, "networks": _network_tables}
