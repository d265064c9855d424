"""Graph attention pooling against the formula written out edge by edge, and its norms."""

import pytest
import torch
from laws import signal
from torch.nn import functional

from isotypic.nn.points.attention import GAPBlock
from isotypic.nn.points.layers import RowLayer
from isotypic.ops.clouds import Clouds
from isotypic.ops.neighbours import nearest


def cloud(counts=(7, 3, 1, 9), dims=4):
    features = signal(len(counts), max(counts), dims)
    mask = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
    clouds = Clouds.of(features, mask)
    x = clouds.rows(features)
    return x, nearest(x[:, :2], clouds.limits, 4)


def block(norm):
    torch.manual_seed(0)
    made = GAPBlock(4, 6, norm=norm).double()
    for parameter in made.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return made


def normed(values, norm, training=True):
    if norm is None or isinstance(norm, torch.nn.Identity):
        return values
    mean, var = values.mean(0), values.var(0, correction=0)
    return (values - mean) / (var + norm.eps).sqrt() * norm.weight + norm.bias


def by_hand(made, x, neighbours):
    """The formula of the module, an edge a row."""
    rows = [
        (i, j)
        for i, (index, n) in enumerate(zip(neighbours.index.tolist(), neighbours.found.tolist(), strict=True))
        for j in index[:n]
    ]
    one, other = (torch.tensor(side) for side in zip(*rows, strict=True))
    e = normed(functional.linear(x[one] - x[other], made.edge.weight, made.edge.bias), made.edge_norm).relu()
    own = normed(functional.linear(x, made.own[0].weight), made.own[1]).relu()
    own = normed(functional.linear(own, made.own_score[0].weight, made.own_score[0].bias), made.own_score[1])
    other_score = normed(
        functional.linear(e, made.neighbour_score.weight, made.neighbour_score.bias), made.neighbour_norm
    )
    score = functional.leaky_relu(own[one] + other_score, 0.2)[:, 0]
    attended, largest = [], []
    for i in range(len(x)):
        mine = one == i
        attended.append((score[mine].softmax(0)[:, None] * e[mine]).sum(0) + made.bias)
        largest.append(e[mine].amax(0))
    return torch.stack(attended).relu(), torch.stack(largest)


@pytest.mark.parametrize("norm", [True, False])
def test_it_is_the_formula_edge_by_edge(norm):
    x, neighbours = cloud()
    made = block(norm).train()
    found, wanted = made(x, neighbours), by_hand(made, x, neighbours)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    weights = [signal(*a.shape, seed=3 + i) for i, a in enumerate(found)]
    gradients = []
    for outputs in (found, wanted):
        made.zero_grad()
        sum((a * w).sum() for a, w in zip(outputs, weights, strict=True)).backward()
        gradients.append([p.grad.clone() for p in made.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-8)


def test_attention_looks_at_the_scores():
    """The control: the plain mean over the neighbours is something else."""
    x, neighbours = cloud()
    made = block(False)
    attended, _ = made(x, neighbours)
    made.neighbour_score.weight.data.zero_()
    assert (attended - made(x, neighbours)[0]).abs().max() > 1e-3


def test_running_statistics_are_those_of_the_edges():
    x, neighbours = cloud()
    made = block(True).train()
    a = functional.linear(x, made.edge.weight, made.edge.bias)
    u = (a[:, None] - functional.linear(x, made.edge.weight)[neighbours.index])[neighbours.valid]
    for _ in range(400):
        made(x, neighbours)
    torch.testing.assert_close(made.edge_norm.running_mean, u.mean(0))
    torch.testing.assert_close(made.edge_norm.running_var, u.var(0))
    training = made(x, neighbours)
    evaluated = made.eval()(x, neighbours)
    assert all((a - b).abs().max() < 0.1 * a.std() for a, b in zip(training, evaluated, strict=True))


def test_parts_side_by_side_are_one_linear_layer():
    layer = RowLayer((3, 5, 2), 4, norm=False).double()
    parts = [signal(7, width, seed=width) for width in (3, 5, 2)]
    torch.testing.assert_close(
        layer(*parts), functional.linear(torch.cat(parts, 1), layer.linear.weight, layer.linear.bias).relu()
    )
