import pytest
import torch

from isotypic.nn import GroupConv2d
from isotypic.ops.layout import CHANNELS_LAST, channels_last, is_channels_last, without_gaps


@pytest.mark.parametrize("shape", [(2, 1, 5, 6), (2, 3, 5, 6), (1, 1, 4, 5, 6), (1, 4, 4, 5, 6)])
def test_a_signal_of_any_channels_has_them_last(shape):
    x = torch.randn(shape)
    made = channels_last(x)
    assert torch.equal(made, x)
    assert is_channels_last(made)
    assert not is_channels_last(x)
    assert made.is_contiguous(memory_format=CHANNELS_LAST[x.dim()])
    assert channels_last(made) is made
    assert is_channels_last(x.contiguous(memory_format=CHANNELS_LAST[x.dim()])) == (shape[1] > 1)


def test_gaps_are_closed():
    x = torch.randn(2, 6, 7, 5).contiguous(memory_format=torch.channels_last)[:, 1:4]
    assert is_channels_last(x)
    assert torch.equal(without_gaps(x), x)
    assert channels_last(x).stride() == (7 * 5 * 3, 1, 5 * 3, 3)


def test_of_one_sample_neither_way_is_said():
    assert not is_channels_last(channels_last(torch.randn(2, 3, 1, 1)))


@pytest.mark.parametrize("channels", [1, 3])
def test_layers_keep_the_layout_from_the_first_on(channels):
    torch.manual_seed(0)
    layers = [GroupConv2d(channels, 2, 3, "p4m", lift=True), GroupConv2d(2, 2, 3, "p4m")]
    x = torch.randn(2, channels, 12, 13)
    last, first = channels_last(x), x
    for layer in layers:
        last, first = layer(last), layer(first)
        assert is_channels_last(last)
        assert not is_channels_last(first)
        torch.testing.assert_close(last, first)
