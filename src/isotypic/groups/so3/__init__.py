"""The rotation group SO(3): rotations, Wigner matrices, grids with quadrature, and the tables of its transforms.

Conventions, for everything about the sphere. A rotation has zyz Euler angles, ``g = R_z(alpha) R_y(beta) R_z(gamma)``
with beta in [0, pi], and acts on a point of the sphere as its matrix acts on (x, y, z). A point has the colatitude beta
and the longitude alpha: it is what g makes of the north pole. A signal turns as ``(h f)(g) = f(h^-1 g)``.

The irrep of degree l is ``D^l_mn(g) = e^{i m alpha} d^l_mn(beta) e^{i n gamma}``, m and n from -l to l, with
``d^l(beta) = exp(-i beta J_y)`` real orthogonal and ``D(g h) = D(g) D(h)``. The spectrum of a signal is
``x^l_mn = integral of f conj(D^l_mn)`` over the normalised Haar measure (n = 0 alone on the sphere), and
``f = sum_l (2 l + 1) sum_mn x^l_mn D^l_mn``: so the spectrum of ``h f`` is ``conj(D(h)) x``.

Source:
    T. Cohen, M. Geiger, J. Koehler, M. Welling, Spherical CNNs, ICLR 2018, arXiv 1801.10130; P. Kostelec, D. Rockmore,
    FFTs on the Rotation Group, Journal of Fourier Analysis and Applications 14 (2008).
"""

from isotypic.groups.so3.grids import BetaGrid, Nodes, gauss_legendre, soft
from isotypic.groups.so3.kernels import S2Kernel, SO3Kernel
from isotypic.groups.so3.real import real_wigner_matrix
from isotypic.groups.so3.rotations import from_zyz, random_rotations, to_zyz
from isotypic.groups.so3.spectra import Band
from isotypic.groups.so3.wigner import wigner_d, wigner_matrix

__all__ = [
    "Band",
    "BetaGrid",
    "Nodes",
    "S2Kernel",
    "SO3Kernel",
    "from_zyz",
    "gauss_legendre",
    "random_rotations",
    "real_wigner_matrix",
    "soft",
    "to_zyz",
    "wigner_d",
    "wigner_matrix",
]
