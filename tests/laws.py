"""What the tests of the laws share: the one tolerance table, the groups, and random signals."""

import torch

from isotypic.groups import named

TOLERANCE = {
    "float64": 1e-10,  # promised by DESIGN.md: equivariance relative to the output's variation
    "table": 1e-12,  # group tables and bases, computed in float64
    "float32": 2e-5,
    "bfloat16": 0.1,
}
BROKEN = 1e-3  # a negative control must miss by more than this

PLANE_GROUPS = ["C1", "C2", "p4", "Cs", "D2", "p4m"]
TABLE_GROUPS = [
    *((name, 2) for name in ("C1", "C2", "C3", "C4", "C8", "C16", "Cs", "D2", "D3", "D4", "D8")),
    *((name, 3) for name in ("C1", "Cs", "C4", "D4", "D4h", "T", "O", "Oh")),
]


def group_of(case):
    return named(*case)


def signal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
