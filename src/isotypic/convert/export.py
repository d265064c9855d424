"""An equivariant network as a file that needs nothing of this library: a torch.export program or ONNX.

The file holds the folded network (:mod:`isotypic.convert.fold`). Its batch is free. Its image size is the given one,
because a parity-adaptive layer becomes the one window that this size asks for; with ``free_size`` it is every size that
the folded network serves. Another size is refused by whatever runs the file.

No file is left that has not been run: it is read back, by torch or by onnxruntime, and compared with the network as it
was before folding.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from isotypic.convert.fold import fold, in_words
from isotypic.errors import RequestError
from isotypic.files import write_atomically

FORMATS = {"torch": ".pt2", "onnx": ".onnx"}
"""The formats, with how the names of their files end."""

DESCRIPTION = "isotypic.json"
"""The extra file of a torch.export program that describes it; ONNX has the same entries in its metadata."""

ROUNDING = {torch.float32: 1e-4, torch.float64: 1e-10}
"""How far a file's output may lie from the network's, relative to the largest value."""

ONNX_BYTES = 2**31 - 2**20
"""What fits into one ONNX file: protobuf ends at 2 GiB."""

_BATCHES = (1, 3)

Runner = Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how close it is to the network.

    Attributes:
        path: the file.
        format: ``"torch"`` or ``"onnx"``.
        size: the image size that it was made for, in pixels.
        step: how far apart served sizes lie on each axis; 0 where only that of ``size`` is served.
        outputs: the names of the outputs.
        difference: the largest difference from the network over the batches and sizes that were run, relative to the
            largest value of the output.
    """

    path: Path
    format: str
    size: tuple[int, ...]
    step: tuple[int, ...]
    outputs: tuple[str, ...]
    difference: float

    @property
    def served(self) -> str:
        """The sizes that it takes, such as ``"33 x 41"`` or ``"33 + 4 k x 41 + 4 k"``."""
        return in_words(self.size, self.step)


def export(
    model: nn.Module,
    input_shape: Sequence[int],
    path: str | Path,
    *,
    values: tuple[float, float] | None = None,
    metadata: Mapping[str, Any] | None = None,
    free_size: bool = False,
) -> Exported:
    """Write a network for use without this library, run the file, and compare it with the network.

    The input is called ``image``, with the batch, channels and size of ``input_shape``, the batch free. One output is
    called ``output``, several are ``output_0``, ``output_1`` and so on. The file records ``size``, ``step``, ``dtype``,
    ``values`` and the metadata: a ``.pt2`` as ``isotypic.json`` among its extra files, ONNX as metadata properties,
    each in JSON.

    Where torch.onnx takes a network's free sizes wrongly (an adaptive pooling to more than one pixel), the comparison
    finds it, and ``free_size`` is refused.

    Args:
        model: an equivariant network, converted or made of this library's layers; it stays as it is.
        input_shape: ``[batch, channels, *space]`` of an input.
        path: the file to write; ``.pt2`` is a torch.export program, ``.onnx`` is ONNX, in float32 only.
        values: the range of the input's values: recorded, and the noise that is compared is uniform in it. None: the
            noise is standard normal.
        metadata: more to record under other names, such as the classes; plain values that JSON has.
        free_size: whether the file takes every size that the folded network serves. It is compared at two.

    Returns:
        What was written and measured.

    Raises:
        RequestError: a name with another ending, a network that does not take the input or cannot be written in the
            format, a result that differs beyond rounding, or ``isotypic[export]`` missing. No file is left, and an old
            one stays.
    """
    path, dtype = Path(path), next(model.parameters()).dtype
    form = _form_of(path)
    _refuse_unfit(form, dtype, input_shape)
    program, size, step = _program(model, input_shape, free_size)
    own = {"size": size, "step": step, "dtype": str(dtype).removeprefix("torch."), "values": values}
    record = {**(metadata or {}), **own}
    batches = [_noise((b, input_shape[1], *n), dtype, values) for n in _sizes(size, step) for b in _BATCHES]
    found: list[float] = []

    def write(beside: Path) -> None:
        run = (_write_torch if form == "torch" else _write_onnx)(program, beside, record)
        found.append(_difference(model, run, batches, free_size))

    write_atomically(path, write)
    return Exported(path, form, size, step, _output_names(program), found[0])


def missing_extra(package: str) -> RequestError:
    """Return the error for a package that only exporting to ONNX needs."""
    return RequestError(f'export to ONNX needs {package}: pip install "isotypic[export]"')


def _form_of(path: Path) -> str:
    forms = {ending: form for form, ending in FORMATS.items()}
    if path.suffix not in forms:
        raise RequestError(f"expected a file that ends in {' or '.join(forms)}, received {path.name!r}")
    return forms[path.suffix]


def _refuse_unfit(form: str, dtype: torch.dtype, input_shape: Sequence[int]) -> None:
    """Refuse what a format cannot hold (onnxruntime convolves in float32 alone), before the work of tracing."""
    if len(input_shape) not in (4, 5) or min(input_shape) < 1:
        raise RequestError(f"expected an input shape [batch, channels, *space], received {list(input_shape)}")
    allowed = [torch.float32] if form == "onnx" else list(ROUNDING)
    if dtype not in allowed:
        raise RequestError(
            f"expected a network in {' or '.join(map(str, allowed))} for {form}, received {dtype}: call model.float()"
        )
    if form == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            _optional(package)


def _optional(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as missing:
        raise missing_extra(package) from missing


def _program(
    model: nn.Module, input_shape: Sequence[int], free_size: bool
) -> tuple[ExportedProgram, tuple[int, ...], tuple[int, ...]]:
    """Return the folded network as a program with a free batch, its size, and the step between sizes that it takes."""
    folded = fold(model, input_shape)
    served: Any = folded.served
    size = tuple(served["size"])
    step = tuple(served["step"]) if free_size else (0,) * len(size)
    # Twice the step beyond the size: torch.export takes an axis that is ever 0 or 1 for a fixed one.
    sides = (n + 2 * s for n, s in zip(size, step, strict=True))
    example = torch.zeros(2, input_shape[1], *sides, dtype=next(model.parameters()).dtype)
    try:
        with torch.no_grad():
            return torch.export.export(folded, (example,), dynamic_shapes=(_free_axes(size, step),)), size, step
    except RuntimeError as error:
        raise _not_taken("torch.export", error, free_size) from error


def _free_axes(size: Sequence[int], step: Sequence[int]) -> dict[int, Any]:
    """Return the axes that are free, with the form ``step * k + rest`` of their sizes, as torch.export is told it."""
    axes: dict[int, Any] = {0: Dim("batch")}
    for axis, (n, s) in enumerate(zip(size, step, strict=True), start=2):
        if s == 1:
            axes[axis] = Dim(f"size_{axis}")
        elif s:
            rest = n % s
            axes[axis] = s * Dim(f"steps_{axis}", min=0) + rest if rest else s * Dim(f"steps_{axis}", min=1)
    return axes


def _output_names(program: ExportedProgram) -> tuple[str, ...]:
    count = len(program.graph_signature.user_outputs)
    return ("output",) if count == 1 else tuple(f"output_{i}" for i in range(count))


def _sizes(size: tuple[int, ...], step: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the sizes to compare at: the given one, and the next where others are served."""
    return [size] + ([tuple(n + s for n, s in zip(size, step, strict=True))] if any(step) else [])


def _noise(shape: tuple[int, ...], dtype: torch.dtype, values: tuple[float, float] | None) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    if values is None:
        return torch.randn(shape, dtype=dtype, generator=generator)
    low, high = values
    return low + (high - low) * torch.rand(shape, dtype=dtype, generator=generator)


def _difference(model: nn.Module, run: Runner, batches: Sequence[Tensor], free_size: bool) -> float:
    """Return the largest difference between a file and the network, relative to the largest value of the output.

    Raises:
        RequestError: it is beyond rounding, or no number.
    """
    network, largest = deepcopy(model).cpu().eval(), 0.0
    for batch in batches:
        with torch.no_grad():
            wanted = _tensors(network(batch))
            differences = [_relative(a, b) for a, b in zip(run(batch), wanted, strict=True)]
        limit = ROUNDING[batch.dtype]
        for difference in differences:
            if not difference <= limit:
                raise RequestError(
                    f"expected the file to compute what the network does, to {limit:.0e}; on an input of shape "
                    f"{list(batch.shape)} they differ by {difference:.1e} of the largest value, so no file was left"
                    + _advice(free_size)
                )
        largest = max(largest, *differences)
    return largest


def _relative(found: Tensor, wanted: Tensor) -> float:
    scale = wanted.abs().max().clamp(min=torch.finfo(wanted.dtype).tiny)
    return float((found - wanted).abs().max() / scale)


def _tensors(output: Any) -> list[Tensor]:
    """Return the tensors of what a network puts out, in the order in which torch.export has them."""
    if isinstance(output, Tensor):
        return [output]
    parts = output.values() if isinstance(output, Mapping) else output
    return [tensor for part in parts for tensor in _tensors(part)]


def _write_torch(program: ExportedProgram, path: Path, record: Mapping[str, Any]) -> Runner:
    torch.export.save(program, path, extra_files={DESCRIPTION: json.dumps(record)})
    loaded = torch.export.load(path).module()
    return lambda batch: _tensors(loaded(batch))


def _write_onnx(program: ExportedProgram, path: Path, record: Mapping[str, Any]) -> Runner:
    if sum(tensor.nbytes for tensor in program.state_dict.values()) > ONNX_BYTES:
        raise RequestError("expected less than 2 GiB of weights for ONNX: write a .pt2 file")
    size, step = record["size"], record["step"]
    names = ("height", "width") if len(size) == 2 else ("depth", "height", "width")
    axes = {0: "batch", **{i: name for i, (name, s) in enumerate(zip(names, step, strict=True), start=2) if s}}
    try:
        with _quiet():
            onnx: Any = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=["image"],
                output_names=list(_output_names(program)),
                dynamic_shapes=(axes,),
            )
    except RuntimeError as error:
        raise _not_taken("torch.onnx", error, any(step)) from error
    if any(step):
        _refuse_other_sizes(onnx.model, size, step)
    onnx.model.metadata_props.update({name: json.dumps(value) for name, value in record.items()})
    onnx.save(path, external_data=False)
    return _onnxruntime(path, any(step))


def _refuse_other_sizes(model: Any, size: Sequence[int], step: Sequence[int]) -> None:
    """Make every runtime refuse an image of a size that is not served, which ONNX has no word for.

    The image passes through a Reshape to ``shape + (shape - size) mod step``: its own shape where the size is served,
    else one that holds more values, which is an error everywhere. The name of the node says what is wrong.
    """
    ir = import_module("onnxscript").ir
    graph, image = model.graph, model.graph.inputs[0]
    users, first = [(use.node, use.idx) for use in image.uses()], next(iter(graph))

    def node(kind: str, *inputs: Any, **options: Any) -> Any:
        made = ir.node(kind, list(inputs), **options)
        graph.insert_before(first, made)
        return made.outputs[0]

    def constant(*numbers: int) -> Any:
        return node("Constant", attributes={"value_ints": numbers})

    shape = node("Shape", image)
    beyond = node("Sub", shape, constant(0, 0, *size))
    rest = node("Mod", beyond, constant(1, 1, *(s or 1 for s in step)))
    words = f"only images of {in_words(size, step)} are served"
    passed = node("Reshape", image, node("Add", shape, rest), name=words)
    passed.shape, passed.type = image.shape, image.type
    for user, place in users:
        user.replace_input_with(place, passed)


def _onnxruntime(path: Path, free_size: bool) -> Runner:
    """Return what runs an ONNX file on the CPU; onnxruntime's errors, which have no base of their own, become ours."""
    runtime = _optional("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4

    def run(batch: Tensor) -> list[Tensor]:
        try:
            return [torch.from_numpy(part) for part in session.run(None, {"image": batch.numpy()})]
        except Exception as error:
            raise _not_taken("onnxruntime", error, free_size) from error

    try:
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _not_taken("onnxruntime", error, free_size) from error
    return run


def _not_taken(by: str, error: Exception, free_size: bool) -> RequestError:
    return RequestError(f"{by} does not take this network: {_first_line(error)}{_advice(free_size)}")


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _advice(free_size: bool) -> str:
    return "; without free_size it can be written for one size" if free_size else ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what torch.onnx says of packages that are not needed and of its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
