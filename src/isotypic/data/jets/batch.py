"""A batch of jets: the particles of each, padded to one number, and what is known of the jet."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

FEATURES = ("d_eta", "d_phi", "log_pt", "log_e", "log_pt_rel", "log_e_rel", "d_r", "cos_theta_rel")
"""What is known of a particle, in the order of the last axis of ``features``; ``_rel`` is relative to the jet."""


@dataclass(frozen=True)
class Jets:
    """A batch of B jets of up to P particles.

    Attributes:
        features: ``[B, P, 8]`` float32, of every particle, in the order of :data:`FEATURES`; zeros where there is none.
        mask: ``[B, P]`` bool, True for a particle.
        label: ``[B]`` int64, which particle the jet comes from.
        mass: ``[B]`` float32, the jet mass in GeV.
        row: ``[B]`` int64, a number that no other jet has.
    """

    features: Tensor
    mask: Tensor
    label: Tensor
    mass: Tensor
    row: Tensor
