"""Transforms on the sphere and on SO(3) against their definition; spectra of kernels against the sum over points."""

import numpy as np
import pytest
import torch
from laws import BROKEN, TOLERANCE, signal

from isotypic.groups.so3 import Band, S2Kernel, SO3Kernel, from_zyz, random_rotations, soft, wigner_d, wigner_matrix
from isotypic.groups.so3.real import real_change
from isotypic.nn.sphere.kernels import CollapsedPoints, LookupBank, PointBank, SpherePoints
from isotypic.nn.sphere.transform import RotationTransform, SphericalTransform

TRANSFORMS = {
    "sphere": lambda: SphericalTransform(5),
    "rotations": lambda: RotationTransform(5),
    "rotations, n_max 2": lambda: RotationTransform(5, n_max=2),
}


@pytest.fixture(params=TRANSFORMS)
def transform(request):
    return TRANSFORMS[request.param]().double()


def matrices(spectrum, band):
    """The complex matrices of every degree, orders from -l to l, of the spectrum of one real signal."""
    made = []
    for degree, (part, shape) in enumerate(zip(spectrum.split(band.sizes), band.shapes, strict=True)):
        left, right = (real_change(degree)[:size] for size in shape)
        made.append(left.conj().T @ part.view(shape).numpy() @ right)
    return made


def test_spectra_go_to_the_grid_and_back(transform):
    spectrum = signal(transform.band.entries, 2, 3)
    back = transform.analyse(transform.synthesise(spectrum))
    assert (back - spectrum).abs().max() < TOLERANCE["float64"]
    single = transform.float()
    assert (single.analyse(single.synthesise(spectrum.float())) - spectrum).abs().max() < TOLERANCE["float32"]
    exact = single.double()  # tables are cast from float64 anew
    assert (exact.analyse(exact.synthesise(spectrum)) - spectrum).abs().max() < TOLERANCE["float64"]


def test_an_empty_batch_has_an_empty_spectrum(transform):
    spectrum = transform.analyse(torch.zeros(0, 2, *transform.samples.space, dtype=torch.float64))
    assert spectrum.shape == (transform.band.entries, 0, 2)
    assert transform.synthesise(spectrum).shape == (0, 2, *transform.samples.space)


def test_parseval(transform):
    band, samples = transform.band, transform.samples
    spectrum = signal(band.entries, 1, 1)
    degrees = np.repeat(2.0 * np.arange(band.degrees) + 1, band.sizes)
    squares = transform.synthesise(spectrum)[0, 0] ** 2
    weights = torch.tensor(soft(samples.bandwidth).weights)
    mean = (squares.flatten(1).mean(1) * weights).sum()
    assert abs(mean - (torch.tensor(degrees) * spectrum[:, 0, 0] ** 2).sum()) < TOLERANCE["float64"]
    assert abs(squares.mean() - mean) > BROKEN, "the unweighted mean passes"


def test_the_spectrum_is_the_quadrature_of_the_definition(transform):
    band, samples = transform.band, transform.samples
    grid, f = soft(samples.bandwidth), signal(1, 1, *samples.space)
    found = matrices(transform.analyse(f)[:, 0, 0], band)
    values = f[0, 0].numpy() if samples.gamma else f[0, 0, ..., None].numpy()
    turns = samples.gamma or 1
    for degree, x in enumerate(found):
        m = np.arange(-degree, degree + 1)
        alpha = np.exp(-2j * np.pi / (2 * grid.bandwidth) * np.outer(m, np.arange(2 * grid.bandwidth)))
        gamma = np.exp(-2j * np.pi / turns * np.outer(m, np.arange(turns))) / turns
        d = wigner_d(degree, grid.betas) * grid.weights[:, None, None] / (2 * grid.bandwidth)
        direct = np.einsum("jag,ma,ng,jmn->mn", values, alpha, gamma, d)
        kept = np.abs(m) <= band.columns
        assert np.abs(x - direct * kept).max() < TOLERANCE["table"]


def test_a_rotated_signal_is_the_signal_at_the_rotated_points(transform):
    band, samples, b = transform.band, transform.samples, transform.samples.bandwidth
    f = transform.synthesise(signal(band.entries, 1, 1))
    spectrum = matrices(transform.analyse(f)[:, 0, 0], band)

    def at(g):
        return sum((2 * l + 1) * (x * wigner_matrix(l, g)).sum() for l, x in enumerate(spectrum)).real  # noqa: E741

    h = random_rotations(1, seed=1)[0]
    turned = transform.rotate(f, h)[0, 0]
    for place in [(2, 3, 4), (7, 1, 0)]:
        inner = place[: len(samples.space)]
        gamma = 2 * np.pi / samples.gamma * place[2] if samples.gamma else 0.0
        g = from_zyz(2 * np.pi / (2 * b) * place[1], soft(b).betas[place[0]], gamma)
        assert abs(at(h.inv() * g) - turned[inner]) < TOLERANCE["float64"]
        assert abs(at(h * g) - turned[inner]) > BROKEN, "the other direction passes"


def test_transforms_are_differentiable_twice(transform):
    f = signal(1, 1, *transform.samples.space).requires_grad_()
    x = signal(transform.band.entries, 1, 1).requires_grad_()
    for call, value in ((transform.analyse, f), (transform.synthesise, x)):
        assert torch.autograd.gradcheck(call, value, fast_mode=True)
        assert torch.autograd.gradgradcheck(lambda t, call=call: call(t) ** 2, value, fast_mode=True)


def direct_kernel(weight, angles, degree):
    """``sum over points of psi conj(D)``, ``[O, C, 2 l + 1, 2 l + 1]``."""
    points = [wigner_matrix(degree, from_zyz(*angle)).conj() for angle in angles]
    return np.einsum("ocp,pmn->ocmn", weight.flatten(2).numpy(), np.stack(points))


def so3_angles(kernel):
    turns = kernel.turn_angles
    return [(a, beta, t - a) for beta in kernel.betas for a in kernel.alphas for t in turns]


@pytest.mark.parametrize("kernel", [SO3Kernel(0.7), SO3Kernel(0.4, rings=2, around=6, turns=4)], ids=str)
def test_the_spectrum_of_a_kernel_is_the_sum_over_its_points(kernel):
    weight = signal(2, 3, *kernel.shape)
    band = Band(4, rows=3, columns=2)
    blocks = LookupBank(kernel, band, scale=0.5).double()(weight)
    for degree, (block, (p, q)) in enumerate(zip(blocks, band.shapes, strict=True)):
        change = real_change(degree)
        real = change @ direct_kernel(0.5 * weight, so3_angles(kernel), degree) @ change.conj().T
        assert np.abs(real.imag).max() < TOLERANCE["table"]
        found = block.view(p, 3, q, 2).permute(3, 1, 2, 0).numpy()
        assert np.abs(found - real.real[..., :q, :p]).max() < TOLERANCE["table"]
        if degree:
            assert np.abs(found - np.flip(real.real, -1)[..., :q, :p]).max() > BROKEN


def test_the_collapsed_kernel_is_the_sum_over_even_orders():
    kernel = SO3Kernel(0.7)
    weight = signal(2, 3, *kernel.shape)
    blocks = PointBank(CollapsedPoints(kernel, 4, 2), Band(4, 2, 0), 1.0).double()(weight)
    for degree, block in enumerate(blocks):
        m, change = np.arange(-degree, degree + 1), real_change(degree)
        complex_sum = direct_kernel(weight, so3_angles(kernel), degree)[..., m % 2 == 0, :].sum(-2)
        real = (complex_sum @ change.conj().T).real[..., : 2 * min(degree, 2) + 1]
        assert np.abs(block.view(-1, 3, 2).permute(2, 1, 0).numpy() - real).max() < TOLERANCE["table"]


def test_the_blocks_of_a_kernel_hold_nothing_but_themselves():
    bank = LookupBank(SO3Kernel(), Band(6, 5, 5), 1.0)
    blocks = bank(torch.randn(3, 2, *SO3Kernel().shape))
    held = {block.untyped_storage().data_ptr(): block.untyped_storage().nbytes() for block in blocks}
    assert sum(held.values()) == sum(block.numel() * block.element_size() for block in blocks)


def test_the_spectrum_of_a_kernel_on_the_sphere_likewise():
    kernel = S2Kernel(0.7)
    weight = signal(2, 3, *kernel.shape)
    blocks = PointBank(SpherePoints(kernel, 4, 2), Band(4, 0, 2), 1.0).double()(weight)
    angles = [(a, beta, 0.0) for beta in kernel.betas for a in kernel.alphas]
    for degree, block in enumerate(blocks):
        real = (real_change(degree) @ direct_kernel(weight, angles, degree)[..., degree, None])[..., :5, 0].real
        assert np.abs(block.view(3, -1, 2).permute(2, 0, 1).numpy() - real).max() < TOLERANCE["table"]
