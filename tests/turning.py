"""What the tests of steerable layers share: an image that turns without interpolation, and two measures of error."""

import math

import torch
from laws import signal

from isotypic.groups import (
    FieldType,
    irreps,
    named,
    quotient,
    regular_fields,
    scalar_fields,
)
from isotypic.groups.circle import SO2Fields, field_sum
from isotypic.metrics.equivariance import equivariance_error
from isotypic.nn.fieldwise import Restrict
from isotypic.ops.rotation import rotate, rotate_channels

SIZES = [(16, 16), (17, 17), (16, 19), (21, 18)]
CIRCLE = (SO2Fields(0, 4), SO2Fields(1, 4), SO2Fields(2, 4))
GROUPS = ["C8", "C16", "D8"]


def smooth(size, kind, degrees=0.0, highest=math.pi / 4, seed=0):
    """Random waves that fall to zero at the border, moved by a rotation without any interpolation."""
    generator = torch.Generator().manual_seed(seed)
    channels, waves = field_sum(kind).channels, 40

    def uniform():
        return torch.rand(channels, waves, generator=generator, dtype=torch.float64)

    direction, length, phase = 2 * math.pi * uniform(), highest * uniform().sqrt(), 2 * math.pi * uniform()
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    y, x = c * y + s * x, c * x - s * y
    sines = (length * direction.cos())[..., None, None] * y + (length * direction.sin())[..., None, None] * x
    radius = (y**2 + x**2).sqrt() / (0.45 * size)
    window = torch.where(radius < 1, (1 + torch.cos(math.pi * radius)) / 2, 0.0)
    image = (torch.cos(sines + phase[..., None, None]).sum(1) * window)[None]
    return rotate_channels(image, degrees, kind) if degrees else image


def turned_error(layer, into, out, size, degrees=45.0, **image):
    """``|f(g x) - g f(x)| / |g f(x)|``, the measure of the docstrings."""
    with torch.no_grad():
        wanted = rotate(layer.double()(smooth(size, into, **image)), degrees, out, "fourier")
        moved = layer(smooth(size, into, degrees, **image))
    return float((moved - wanted).norm() / wanted.norm())


def grid_representation(kind):
    """How the channels change under the elements that map the grid to itself."""
    kind = field_sum(kind)
    if kind.group.name == "SO(2)":
        return Restrict(kind, "C4").out_type.representation
    return kind.representation.restrict(exact_elements(kind.group))


def exact_elements(group):
    return [g for g, m in enumerate(group.matrices) if abs(m - m.round()).max() < 1e-9]


def grid_error(layer, into, out, size):
    """The largest error over the elements that map the grid to itself."""
    rho = grid_representation(into)
    x = signal(2, field_sum(into).channels, *size)
    errors = equivariance_error(
        layer.double(), x, rho.group, input_representation=rho, output_representation=grid_representation(out)
    )
    return float(errors.max())


def quotient_fields(group, fields):
    return FieldType(quotient(group, group.subgroup([exact_elements(group)[1]])), fields)


def mixed(name):
    """Every kind of field at once."""
    if name == "SO(2)":
        return CIRCLE
    group = named(name)
    kinds = [scalar_fields(group, 2), regular_fields(group, 1), quotient_fields(group, 2)]
    return (*kinds, *(FieldType(rho, 2) for rho in irreps(group)[1:4]))
