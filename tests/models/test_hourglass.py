"""The CNN beside the spherical networks: the published sizes, and any image."""

import pytest
import torch

from isotypic.errors import RequestError
from isotypic.models.hourglass import CNN_1M, CNN_5M, CNN_218K, Hourglass, HourglassWidths


@pytest.mark.parametrize(("widths", "count"), [(CNN_218K, 218_144), (CNN_1M, 1_042_013), (CNN_5M, 5_519_335)])
def test_parameters_are_those_of_the_paper(widths, count):
    with torch.device("meta"):
        assert sum(p.numel() for p in Hourglass(widths, 1, 11).parameters()) == count


@pytest.mark.parametrize("size", [(16, 16), (17, 14)])
def test_logits_have_the_size_of_the_image(size):
    net = Hourglass(HourglassWidths((3, 4, 5), (3, 5, 3), (1, 2, 2)), 1, 2)
    assert net(torch.randn(2, 1, *size)).shape == (2, 2, *size)


def test_widths_that_do_not_fit_are_refused():
    with pytest.raises(
        RequestError, match="expected features, kernels and strides of every block, received 1, 2 and 1"
    ):
        HourglassWidths((3,), (3, 3), (1,))
    with pytest.raises(RequestError, match=r"expected odd kernels, received \(4,\)"):
        HourglassWidths((3,), (4,), (1,))
