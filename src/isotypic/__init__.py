"""Deep learning that is exactly equivariant to a symmetry group.

``isotypic.act``, ``isotypic.equivariant`` and the packages ``groups``, ``nn``, ``models`` and ``data`` are the public
face.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Segmenter": "isotypic.inference.segmenter",
    "act": "isotypic.ops.action",
    "check": "isotypic.convert.check",
    "equivariant": "isotypic.convert.equivariant",
    "export": "isotypic.convert.export",
    "fold": "isotypic.convert.fold",
}

__all__ = ["Segmenter", "__version__", "act", "check", "equivariant", "export", "fold"]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for, so that ``isotypic --help`` does not load torch."""
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'isotypic' has no attribute {name!r}")
