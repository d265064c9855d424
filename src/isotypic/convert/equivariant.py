"""An ordinary network made equivariant in one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, fx, nn

from isotypic.convert.conversion import Conversion, Plan, convert
from isotypic.convert.rules.convolution import is_affine_tail
from isotypic.convert.rules.resampling import JOINS
from isotypic.convert.rules.table import rule_for
from isotypic.convert.stochastic_depth import StochasticDepth
from isotypic.convert.tracing import Traced, axes_of, shape, trace
from isotypic.convert.training import add_training
from isotypic.errors import RequestError, unknown
from isotypic.groups.catalogue import resolve
from isotypic.groups.finite import FiniteGroup
from isotypic.nn.matching import Match

SIZES_TRIED = (64, 96, 128, 224, 256, 32, 28)
WEIGHTS = ("new", "symmetrise")
_CONVOLUTIONS = {2: (nn.Conv2d, nn.ConvTranspose2d), 3: (nn.Conv3d, nn.ConvTranspose3d)}
_MIXERS = (*_CONVOLUTIONS[2], *_CONVOLUTIONS[3], nn.Linear)
_MIXING_CALLS = ("conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d", "linear")


def equivariant(
    model: nn.Module,
    group: str | FiniteGroup,
    *,
    match: Match | str = Match.FIELDS,
    weights: str = "new",
    input_shape: Sequence[int] | None = None,
) -> fx.GraphModule:
    """Return an equivariant network with the architecture of an ordinary one.

    Every convolution becomes a group convolution, every norm shares its parameters over a field, every stride, pool and
    upsampling follows the parity rule, and the outputs are averaged over the group: class scores do not change under
    the group, dense outputs move with the image. The result is an ordinary module on plain tensors; the original stays
    as it is. Dropout and stochastic depth stay what they are; a module that does anything else in training alone is
    refused.

    Args:
        model: the network: one image or volume in, one or several tensors out.
        group: in the plane Cs, C2, C4 (p4), D2, D4 (p4m); in space Cs, C4, D4, D4h, O, Oh.
        match: how wide it becomes: ``"fields"`` as many fields as the network has channels (|G| times its parameters),
            ``"channels"`` the same total channels, ``"parameters"`` about the same parameters, ``"compute"`` the same
            multiplications.
        weights: ``"new"`` starts afresh; ``"symmetrise"`` starts as the average of the network over the group, in
            evaluation mode, ``1/|G| sum_g g^-1 f(g x)``, on sizes where its own strides are symmetric. Needs
            ``match="fields"``.
        input_shape: ``[batch, channels, *space]`` (or without the batch) of an input that the network takes; default:
            the channels of its first convolution and a few common sizes. Needed where a linear layer fixes the size.

    Raises:
        RequestError: a module or function without an equivariant form, named with its place; a group that does not fit
            the network's dimension; an input shape that the network does not take.
    """
    if weights not in WEIGHTS:
        raise unknown("weights", weights, WEIGHTS)
    chosen = _match(match)
    if weights == "symmetrise" and chosen is not Match.FIELDS:
        raise RequestError(f"expected match='fields' with weights='symmetrise', received {chosen.value!r}")
    resolved = resolve(group, _dimension(model))
    resolved.grid_matrices  # noqa: B018
    traced, example = _traced(model, resolved.dim, input_shape)
    add_training(traced, model, example)
    plan = Plan(resolved, chosen, weights == "symmetrise", _finals(traced), _tails(traced), _reach(traced))
    first = next(model.parameters())
    with _modules_of(first.dtype):
        converted = convert(Conversion(traced, plan), rule_for)
    return converted.to(first.device).train(model.training)


@contextmanager
def _modules_of(dtype: torch.dtype) -> Iterator[None]:
    """Make new modules with parameters of a dtype, so that weights copied into them keep their bits."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _match(match: Match | str) -> Match:
    names = [m.value for m in Match]
    if match not in names:
        raise unknown("match", str(match), names)
    return Match(match)


def _dimension(model: nn.Module) -> int:
    found = axes_of(model)
    if len(found) != 1:
        raise RequestError(
            "expected a network of 2-D or of 3-D convolutions, received "
            + ("one that has both" if found else "one without convolutions")
        )
    return found.pop()


def _traced(model: nn.Module, axes: int, input_shape: Sequence[int] | None) -> tuple[Traced, Tensor]:
    """Run a copy in evaluation mode on an example; return that as well."""
    copy = deepcopy(model).cpu().eval()
    dtype = next(copy.parameters()).dtype
    if input_shape is not None:
        size = tuple(input_shape) if len(input_shape) == axes + 2 else (2, *input_shape)
        return _run(copy, torch.randn(max(2, size[0]), *size[1:], dtype=dtype))
    kinds = _CONVOLUTIONS[axes]
    channels = next(m.in_channels for m in copy.modules() if isinstance(m, kinds))
    for side in SIZES_TRIED if axes == 2 else SIZES_TRIED[:2]:
        try:
            return _run(copy, torch.randn(2, channels, *(side,) * axes, dtype=dtype))
        except RequestError as error:
            problem = error
    raise RequestError(f"the network took none of the sizes {SIZES_TRIED}; give input_shape. The last: {problem}")


def _run(model: nn.Module, example: Tensor) -> tuple[Traced, Tensor]:
    try:
        return trace(model, example), example
    except (RuntimeError, ValueError, IndexError) as error:
        if isinstance(error, RequestError):
            raise
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RequestError(f"the network does not take an input of shape {list(example.shape)}: {text}") from error


def _kind(traced: Traced, node: fx.Node) -> Any:
    """Return the module of a node, or the bare name of its function."""
    if node.op == "call_module":
        return traced.module(node)
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return name.strip("_")


def _mixes(traced: Traced, node: fx.Node) -> bool:
    kind = _kind(traced, node)
    return kind in _MIXING_CALLS if isinstance(kind, str) else isinstance(kind, _MIXERS)


def _finals(traced: Traced) -> frozenset[fx.Node]:
    """Return the convolutions and linear layers whose channels are the network's output."""
    finals, waiting, seen = set(), list(_output(traced).all_input_nodes), set()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if _mixes(traced, node):
            finals.add(node)
        else:
            waiting += node.all_input_nodes
    return frozenset(finals)


def _tails(traced: Traced) -> frozenset[fx.Node]:
    """Return the pointwise linear maps that only such maps follow, to the output."""
    tails: set[fx.Node] = set()
    for node in reversed(traced.graph.nodes):
        ends = all(user.op == "output" or user in tails for user in node.users)
        if node.users and ends and (is_affine_tail(_kind(traced, node), node) or _passes(traced, node)):
            tails.add(node)
    return frozenset(tails)


def _passes(traced: Traced, node: fx.Node) -> bool:
    """Whether a node hands on what it gets: identity, dropout, or a flattening of no space."""
    kind = _kind(traced, node)
    if isinstance(kind, (nn.Identity, nn.Dropout, StochasticDepth)):
        return True
    reshapes = isinstance(kind, nn.Flatten) or kind in ("flatten", "view", "reshape", "squeeze")
    return reshapes and all(n == 1 for n in shape(node.args[0])[2:])  # type: ignore[arg-type]


def _reach(traced: Traced) -> dict[fx.Node, fx.Node]:
    """Return the upsampling nodes that lead to a join, with the other side of the join, computed before them."""
    order = {node: i for i, node in enumerate(traced.graph.nodes)}
    reach: dict[fx.Node, fx.Node] = {}
    for join in traced.graph.nodes:
        if _name(join) not in JOINS:
            continue
        sides = [node for node in join.all_input_nodes if node.op != "get_attr" and len(shape(node)) > 2]
        for side in sides:
            source = _upsampling_before(traced, side)
            partners = [n for n in sides if n is not side and source and order[n] < order[source]]
            if source and partners:
                reach.setdefault(source, partners[0])
    return reach


def _upsampling_before(traced: Traced, node: fx.Node) -> fx.Node | None:
    """Return the node that brought a signal to its size by upsampling, or None."""
    size = shape(node)[2:]
    while node.op not in ("placeholder", "get_attr"):
        before = next((n for n in node.all_input_nodes if n.op != "get_attr"), None)
        if before is None or len(shape(before)) <= 2:
            return None
        if shape(before)[2:] != size:
            kind = _kind(traced, node)
            grows = all(a <= b for a, b in zip(shape(before)[2:], size, strict=False))
            transposed = getattr(kind, "transposed", False) or isinstance(kind, nn.Upsample)
            return node if grows and (transposed or kind in ("interpolate", *_MIXING_CALLS)) else None
        node = before
    return None


def _name(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")


def _output(traced: Traced) -> fx.Node:
    return next(node for node in reversed(traced.graph.nodes) if node.op == "output")
