"""Where bodies are: the pelvis before translation, and bodies of the world in the frames of cameras."""

from __future__ import annotations

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.fitting.solve.fitter import Fitter


def pelvis_at_rest(fitter: Fitter, x: Float[Tensor, "B D"]) -> Float[Tensor, "B 3"]:
    """The pelvis, about which the root turns, before translation, m."""
    still = torch.eye(3, dtype=x.dtype, device=x.device).expand(len(x), len(fitter.unknowns.names), 3, 3)
    return fitter.everything.kinematics(still, fitter.unknowns.shape(x), derivatives=False).positions[0]


def in_cameras(
    fitter: Fitter, x: Float[Tensor, "B D"], rotation: Float[Tensor, "B 3 3"], shift: Float[Tensor, "B 3"]
) -> Float[Tensor, "B D"]:
    """Unknowns of bodies in the world, each brought to the frame of a camera.

    Args:
        fitter: whose unknowns they are.
        x: the bodies.
        rotation, shift: from the world to the camera of each.
    """
    layout, out, pelvis = fitter.unknowns.layout, x.clone(), pelvis_at_rest(fitter, x)
    there = (rotation @ (pelvis + x[:, layout["transl"]])[..., None])[..., 0] + shift
    out[:, layout["transl"]] = there - pelvis
    turned = rotation @ roma.rotvec_to_rotmat(x[:, layout["global_orient"]])
    out[:, layout["global_orient"]] = roma.rotmat_to_rotvec(turned)
    return out
