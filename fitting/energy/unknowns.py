"""The unknowns of a fit: which numbers are solved for, and how they become joint rotations.

A person's unknowns parameterise what SMPL-X takes: the body's pose is a latent vector that the prior's decoder turns
into rotations, hands are a few principal components each, the rest is what SMPL-X takes.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.fitting.energy.age_curve import AgeCurve
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.so3 import exponential
from bodyfit.fitting.energy.stature import Stature
from bodyfit.prior.model.decoder_tangent import decode, decode_with_tangent
from bodyfit.prior.model.parts import NUM_BODY_JOINTS
from bodyfit.prior.model.vposer import VPoser


class Layout:
    """Where each block of unknowns stands. The same for unknowns and steps."""

    def __init__(self, sizes: dict[str, int]):
        self.slices: dict[str, slice] = {}
        at = 0
        for name, size in sizes.items():
            self.slices[name] = slice(at, at + size)
            at += size
        self.size = at

    def __getitem__(self, name: str) -> slice:
        return self.slices[name]

    def span(self, first: str, last: str) -> slice:
        """From the start of one block to the end of another."""
        return slice(self.slices[first].start, self.slices[last].stop)

    def mask(self, *names: str) -> Bool[Tensor, " D"]:
        """True in the named blocks."""
        mask = torch.zeros(self.size, dtype=torch.bool)
        for name in names:
            mask[self.slices[name]] = True
        return mask


class Unknowns:
    """Unknowns of a body model under a prior, and how they become joint rotations.

    The body joints are decoded from the latent. The other rotation vectors (root, jaw, fingers) are linear in the
    unknowns: the `direct` ones, in this order.
    """

    def __init__(self, body: BodyModel, prior: VPoser, model: LandmarkModel, hand_components: int = 12):
        dtype, device = model.dtype, model.device
        self.layers = [
            (w.detach().to(device, dtype), b.detach().to(device, dtype), s) for w, b, s in prior.decoder_layers()
        ]
        self.softness = prior.config.decoder_softness
        self.names, self.body_name = tuple(body.joint_names), body.name
        self.has_hands, self.has_jaw = "left_index1" in self.names, "jaw" in self.names
        to = {"dtype": dtype, "device": device}
        self.hands: dict[str, tuple[list[int], Tensor, Tensor]] = {}
        components = hand_components if self.has_hands else 0
        for side in ("left", "right") if self.has_hands else ():
            first = self.names.index(f"{side}_index1")
            mean, basis = getattr(body, f"hand_mean_{side}"), getattr(body, f"hand_components_{side}")
            joints = list(range(first, first + 15))
            self.hands[side] = joints, torch.as_tensor(mean, **to), torch.as_tensor(basis[:components], **to)
        self.has_kid_axis = body.has_kid_axis
        self.age_curve = AgeCurve.of(body, torch.zeros(0, **to))
        self.num_betas, self.num_expression = body.shapedirs.shape[2], body.exprdirs.shape[2]
        self.layout = Layout(
            {
                "global_orient": 3,
                "transl": 3,
                "latent": prior.latent_dim,
                "betas": self.num_betas,
                "expression": self.num_expression,
                "jaw_pose": 3 if self.has_jaw else 0,
                "left_hand": components,
                "right_hand": components,
                "log_focal": 1,
            }
        )

        self.stature = Stature(body, dtype, device)
        self._build_direct(model)

    def _build_direct(self, model: LandmarkModel) -> None:
        """The rotation vectors that are linear in the unknowns: root, jaw, hands; one matrix for all."""
        joints = [0] + ([self.names.index("jaw")] if self.has_jaw else [])
        blocks = [("global_orient", torch.eye(3))] + ([("jaw_pose", torch.eye(3))] if self.has_jaw else [])
        means = [torch.zeros(3 * len(joints))]
        for side, (fingers, mean, basis) in self.hands.items():
            joints += fingers
            blocks.append((f"{side}_hand", basis))
            means.append(mean)
        to = {"dtype": model.dtype, "device": model.device}
        self.direct_mean = torch.cat([m.to(**to) for m in means])
        self.direct_matrix = torch.zeros(self.layout.size, 3 * len(joints), **to)
        at = 0
        for name, basis in blocks:
            self.direct_matrix[self.layout[name], at : at + basis.shape[1]] = basis.to(**to)
            at += basis.shape[1]

        def rank(j: list[int]) -> Tensor:
            return torch.as_tensor(model.level_rank[model.parents[j]], dtype=torch.long, device=model.device)

        self.body_parents = rank(list(range(1, NUM_BODY_JOINTS + 1)))
        self.direct_parents = rank(joints[1:])  # of the jaw and the fingers

    def hand_pose(self, x: Float[Tensor, "B D"], side: str) -> Float[Tensor, "B 45"]:
        """Axis-angle of the 15 joints of a hand, mean included."""
        _, mean, basis = self.hands[side]
        return mean + x[:, self.layout[f"{side}_hand"]] @ basis

    def direct_rotations(
        self, x: Float[Tensor, "B D"], *, derivative: bool = True
    ) -> tuple[Float[Tensor, "B T 3 3"], Float[Tensor, "B T 3 3"] | None]:
        """Rotations of root, jaw and fingers, and their left Jacobians; None where not wanted."""
        rotvecs = torch.addmm(self.direct_mean, x, self.direct_matrix).unflatten(1, (-1, 3))
        return exponential(rotvecs, derivative=derivative)

    def assemble(self, direct: Float[Tensor, "B T 3 3"], body: Float[Tensor, "B 21 3 3"]) -> Float[Tensor, "B J 3 3"]:
        """All joints' rotations: `direct` ones, the decoded body, and eyes (or SMPL's hands) at rest."""
        eye = torch.eye(3, dtype=body.dtype, device=body.device).expand(len(body), 2, 3, 3)
        still = [eye] if self.has_jaw or not self.has_hands else []
        fingers = 2 if self.has_jaw else 1
        return torch.cat([direct[:, :1], body, direct[:, 1:fingers], *still, direct[:, fingers:]], dim=1)

    def rotations(self, x: Float[Tensor, "B D"], body: Float[Tensor, "B 21 3 3"]) -> Float[Tensor, "B J 3 3"]:
        """All joints' rotations, given the decoded body."""
        return self.assemble(self.direct_rotations(x, derivative=False)[0], body)

    def decode(self, x: Float[Tensor, "B D"], softness: float = 0.0) -> Float[Tensor, "B 21 3 3"]:
        """Rotations of the body joints; the decoder's kinks are rounded over `softness` or its own, if that is more."""
        return decode(self.layers, x[:, self.layout["latent"]], max(softness, self.softness))

    def decode_with_tangent(
        self, x: Float[Tensor, "B D"], softness: float = 0.0
    ) -> tuple[Float[Tensor, "B 21 3 3"], Float[Tensor, "B 21 3 Z"]]:
        """The same with the derivative in the latent, see `prior.model.decoder_tangent.decode_with_tangent`."""
        return decode_with_tangent(self.layers, x[:, self.layout["latent"]], max(softness, self.softness))

    def shape(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B S"]:
        """Betas followed by expression."""
        return x[:, self.layout.span("betas", "expression")]

    def retract(self, x: Float[Tensor, "B D"], step: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Take a step by adding it. Root rotations beyond pi are replaced by the equal ones below pi."""
        moved = x + step
        root = moved[:, self.layout["global_orient"]]
        angle = root.norm(dim=1, keepdim=True)
        root *= torch.where(angle > math.pi, 1 - 2 * math.pi / angle, 1.0)
        return moved
