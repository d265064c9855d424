"""The layers of other libraries, timed where the user has installed them: escnn and its predecessor e2cnn.

Both describe a layer by a space with its group, and by types: so many regular fields in and out. Their tensors carry
the type. In evaluation mode they keep the expanded filters. They get their input as torch makes it, channels first.
"""

from __future__ import annotations

import logging
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from isotypic.bench.candidates import Candidate, layer_candidate
from isotypic.bench.layers import LayerCase
from isotypic.bench.setting import Setting

LOGGER = logging.getLogger(__name__)
SPACES = {
    "escnn": {"C": "rot2dOnR2", "D": "flipRot2dOnR2"},
    "e2cnn": {"C": "Rot2dOnR2", "D": "FlipRot2dOnR2"},
}
"""What a library calls the plane with n rotations, without and with flips.

Source: the README and the reference of escnn (https://quva-lab.github.io/escnn) and of e2cnn
(https://quva-lab.github.io/e2cnn).
"""


class Peer(nn.Module):
    """A layer of another library on plain tensors.

    Args:
        library: the imported package.
        space: the name of its space.
        rotations: how many the group has.
        case: what the layer is for.
        fields: regular fields in and out.
    """

    def __init__(self, library: str, space: str, rotations: int, case: LayerCase, fields: int) -> None:
        super().__init__()
        spaces, layers = import_module(f"{library}.gspaces"), import_module(f"{library}.nn")
        moved = getattr(spaces, space)(N=rotations)
        self.type: Any = layers.FieldType(moved, [moved.regular_repr] * fields)
        self.typed: Any = layers.GeometricTensor
        self.layer: nn.Module = layers.R2Conv(self.type, self.type, case.kernel, padding=case.kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``[B, channels, y, x]``."""
        return self.layer(self.typed(x, self.type)).tensor


def candidates(case: LayerCase, setting: Setting) -> dict[str, Candidate]:
    """Return the layers that installed libraries have for a case, by library.

    They have those of rotations, and rotations with flips, of the plane. A library that cannot make or call its layer
    here is left out, and the log says so.
    """
    found = {}
    family, rotations = case.group[0], case.group[1:]
    for library, spaces in SPACES.items():
        if case.dim != 2 or family not in spaces or not rotations.isdigit() or find_spec(library) is None:
            continue
        # What another library's code raises on this machine is not known beforehand, and must not end the run.
        try:
            found[library] = _candidate(case, setting, library, int(rotations))
        except Exception as error:
            LOGGER.warning("%s is left out of %s: %s", library, case, error)
    return found


def _candidate(case: LayerCase, setting: Setting, library: str, rotations: int) -> Candidate:
    fields = case.fields(setting.match)
    module = Peer(library, SPACES[library][case.group[0]], rotations, case, fields).to(**setting.kind)
    channels = fields * case.finite_group.order
    x = torch.randn(case.batch, channels, case.size, case.size, **setting.kind)
    made = layer_candidate(module, x, case.mode)
    made.call()
    return made


def version(library: str) -> str:
    """Return the version of an installed library."""
    module: ModuleType = import_module(library)
    return getattr(module, "__version__", "unknown")
