"""How training of a spherical network begins: weights of every layer scaled so that signals keep their variance.

The scale of the reference implementation makes signals smaller layer by layer, by a factor of about a thousand in
``s2cnn-204k`` at small bandwidths; biases, which an optimiser moves by the same step, then decide everything, and short
trainings say background everywhere. Here layer after layer is divided by the deviation of what it makes of smooth
noise.

Source:
    D. Mishkin, J. Matas, All You Need Is a Good Init, ICLR 2016, arXiv 1511.06422.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from isotypic.models.s2cnn import S2CNN, S2CNNClassifier
from isotypic.nn.sphere.transform import SphericalTransform

_IMAGES, _FALL = 4, 1.5
"""Images of noise, and the power of ``1 + l`` by which degree l of it falls."""


def level(net: S2CNN | S2CNNClassifier) -> None:
    """Scale the weights of every convolution of a fresh network so that its output has a variance of one.

    Args:
        net: is changed; its biases are zero.
    """
    with torch.no_grad():
        x = smooth_noise(net.lift.bandwidths.into, net.lift.in_channels).to(net.lift.weight)
        for layer in net.convolutions:
            deviation = layer(x).std()
            layer.weight.div_(deviation)
            x = layer(x).relu_()


def smooth_noise(bandwidth: int, channels: int) -> Tensor:
    """Return images ``[4, channels, 2 b, 2 b]`` of variance one, the same every time."""
    transform = SphericalTransform(bandwidth).double()
    degrees = np.repeat(np.arange(bandwidth), 2 * np.arange(bandwidth) + 1)
    fall = torch.from_numpy((1.0 + degrees) ** -_FALL)[:, None, None]
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(len(degrees), _IMAGES, channels, dtype=torch.float64, generator=generator)
    noise = transform.synthesise(drawn * fall)
    return noise / noise.std()
