"""Makes synthetic people with known truth: random bodies before random cameras, and simulated detections.

Used by the benchmark and to train the start network. Everything is drawn from one seed, at thousands of people per
second, since only landmarks are posed.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.landmarks import LANDMARK_INDEX, LANDMARK_NAMES
from bodyfit.fitting.energy.age_curve import AgeCurve
from bodyfit.fitting.energy.landmark_model import FLIP_Y_Z, LandmarkModel
from bodyfit.fitting.energy.projection import project
from bodyfit.fitting.start.draws import Draw
from bodyfit.fitting.start.simulated_detector import SimulatedDetector
from bodyfit.fitting.start.synthetic_people import SyntheticOptions, SyntheticPeople

_ASPECTS = (9 / 16, 2 / 3, 3 / 4, 1.0, 4 / 3, 3 / 2, 16 / 9)  # image width / height
_CROP_LINES = {"hips": ("left_hip", "right_hip"), "knees": ("left_knee", "right_knee")}


class PeopleMaker:
    """Makes people of one body model. Reuse it: building the landmark model takes longer than making a thousand people.

    Args:
        body: any body model; points that it lacks stay unseen.
        options: how to draw.
        names: landmarks that are posed; the others stay unseen. Without the 17 contour points, which depend on
            the head yaw, this is three times as fast. Hips, knees and head must be among them.
        dtype, device: of the result.
        draw_on: where random numbers are drawn. On the CPU, devices agree up to rounding; on a GPU it is faster.
    """

    def __init__(
        self,
        body: BodyModel,
        options: SyntheticOptions | None = None,
        *,
        names: tuple[str, ...] = LANDMARK_NAMES,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        draw_on: torch.device | str = "cpu",
    ):
        self.options = options or SyntheticOptions()
        if self.options.crop not in ("edge", *_CROP_LINES):
            raise ValueError(f"crop must be 'edge', 'hips' or 'knees', got {self.options.crop!r}")
        self.body, self.dtype, self.device, self.draw_on = body, dtype, torch.device(device), torch.device(draw_on)
        self.model = LandmarkModel(body, names=names, dtype=dtype, device=device)
        self.places = torch.tensor([LANDMARK_INDEX[name] for name in self.model.names], device=self.device)
        self.detector = SimulatedDetector(self.options, self.places.tolist(), dtype, self.device)

    def _draw(self, count: int, seed: int) -> Draw:
        return Draw(count, torch.Generator(self.draw_on).manual_seed(seed), self.dtype, self.device)

    def make(
        self, body_pose: Float[Tensor, "N 63"], root_orient: Float[Tensor, "N 3"] | None = None, *, seed: int
    ) -> SyntheticPeople:
        """People in the given poses.

        Args:
            body_pose: axis-angle of the 21 body joints.
            root_orient: axis-angle of the root in a world with y up; upright where None. A random yaw is added.
            seed: the same seed makes the same people.
        """
        draw = self._draw(len(body_pose), seed)
        truth = self._truth(draw, body_pose.to(self.device, self.dtype), root_orient)
        turns, camera = truth.pop("rotations"), self._camera(draw)
        shape, origin = torch.cat([truth["betas"], truth["expression"]], dim=1), turns.new_zeros(1, 3)
        bare = self.model(turns, shape, origin, derivatives=False)
        placed = self._place(draw, bare.points, camera)
        points = bare.points + placed["transl"][:, None]
        landmarks = points.new_zeros(len(points), len(LANDMARK_NAMES), 3).index_copy(1, self.places, points)
        people = SyntheticPeople(
            **truth, **placed, focal_px=camera["focal_px"], landmarks=landmarks,
            keypoints_px=landmarks[..., :2], confidence=landmarks[..., 0],
        )  # fmt: skip
        head = bare.kinematics.rotations[self.model.level_rank[self.model.joint_names.index("head")]]
        return self.detector.detect(draw, people, head)

    @staticmethod
    def with_kid_beta(people: SyntheticPeople) -> SyntheticPeople:
        """Adults as people of a body with a kid axis: one more shape number, 0."""
        return replace(people, betas=torch.nn.functional.pad(people.betas, (0, 1)))

    def detect(self, people: SyntheticPeople, head: Float[Tensor, "N 3 3"], *, seed: int) -> SyntheticPeople:
        """The same people with detections drawn anew.

        Args:
            people: with true landmarks, camera and size.
            head: rotation of each head to the camera frame.
            seed: the same seed makes the same detections.
        """
        return self.detector.detect(self._draw(len(people), seed), people, head)

    def _truth(self, draw: Draw, body_pose: Tensor, root_orient: Tensor | None) -> dict[str, Tensor]:
        """Parameters without the translation, and the rotations of all joints."""
        opt, body, count = self.options, self.body, len(body_pose)
        orient = self._orientation(draw, root_orient)
        hands = {side: self._hand(draw, side) for side in ("left", "right")}
        opening = draw.normal(count, 3) * draw.constant((opt.jaw_open_rad, opt.jaw_open_rad / 8, opt.jaw_open_rad / 8))
        jaw = torch.cat([opening[:, :1].abs(), opening[:, 1:]], dim=1)
        betas = self._betas(draw)
        expression = (draw.normal(count, body.num_expression) * opt.expression_spread).clamp(-2.5, 2.5)
        eyes = body_pose.new_zeros(count, 6)
        pose = {
            "smplx": [body_pose, jaw, eyes, hands["left"], hands["right"]],
            "smplh": [body_pose, hands["left"], hands["right"]],
            "smpl": [body_pose, eyes],
        }[body.kind]
        local = roma.rotvec_to_rotmat(torch.cat(pose, dim=1).unflatten(1, (-1, 3)))
        return {
            "global_orient": roma.rotmat_to_rotvec(orient),
            "body_pose": body_pose,
            "betas": betas,
            "expression": expression,
            "jaw_pose": jaw,
            "left_hand_pose": hands["left"],
            "right_hand_pose": hands["right"],
            "rotations": torch.cat([orient[:, None], local], dim=1),
        }

    def _betas(self, draw: Draw) -> Float[Tensor, "N Nb"]:
        """Shape numbers; where there is a kid axis, it is that of the ages, and children differ less in metres."""
        body, opt = self.body, self.options
        betas = (draw.normal(draw.count, body.num_betas) * opt.beta_spread).clamp(-2.5, 2.5)
        if not body.has_kid_axis:
            return betas
        kid = torch.zeros_like(betas[:, -1])
        if opt.ages is not None:
            years = draw.uniform(*opt.ages, draw.count)
            known = np.interp(years.cpu().numpy(), *body.kid_ages)
            kid = torch.as_tensor(known).to(betas) + opt.kid_spread * draw.normal(draw.count)
        betas = betas * (1 - 0.6 * kid.clamp(0, 1))[:, None]
        curve = AgeCurve.of(body, betas)
        if opt.ages is not None and curve is not None:
            betas[:, :-1] += curve.at(kid)[0]
        betas[:, -1] = kid
        return betas

    def _orientation(self, draw: Draw, root_orient: Tensor | None) -> Float[Tensor, "N 3 3"]:
        """Root orientation in the camera frame: a random yaw, then the tilt of the camera."""
        opt, count = self.options, draw.count
        yaw, pitch, roll = (draw.constant(axis) for axis in ((0.0, 1, 0), (1.0, 0, 0), (0.0, 0, 1)))
        to_camera = torch.diag(draw.constant(FLIP_Y_Z)) @ _turn(yaw, draw.uniform(-math.pi, math.pi, count))
        pitched = _turn(pitch, draw.normal(count) * math.radians(opt.pitch_deg))
        orient = _turn(roll, draw.normal(count) * math.radians(opt.roll_deg)) @ pitched @ to_camera
        if root_orient is None:
            return orient
        return orient @ roma.rotvec_to_rotmat(root_orient.to(self.device, self.dtype))

    def _hand(self, draw: Draw, side: str) -> Float[Tensor, "N 45"]:
        mean, basis = (getattr(self.body, f"hand_{what}_{side}") for what in ("mean", "components"))
        if mean is None:
            return draw.constant((0.0,) * 45).expand(draw.count, 45)
        basis = basis[: self.options.hand_components]
        size = np.sqrt(np.arange(1, len(basis) + 1)) * np.linalg.norm(basis, axis=1).clip(1e-6)
        spread = basis * (self.options.hand_spread_rad / size)[:, None]
        return draw.constant(mean) + draw.normal(draw.count, len(basis)) @ draw.constant(spread)

    def _camera(self, draw: Draw) -> dict[str, Tensor]:
        low, high = (math.log(f) for f in self.options.focal_px)
        return {
            "focal_px": draw.uniform(low, high, draw.count).exp(),
            "distance": draw.uniform(*self.options.distance_m, draw.count),
        }

    def _place(self, draw: Draw, points: Float[Tensor, "N K 3"], camera: dict[str, Tensor]) -> dict[str, Tensor]:
        """Place each body in front of its camera, choose the image around it, and move it to its place in the image."""
        focal, distance, zero = camera["focal_px"], camera["distance"], points.new_zeros(len(points), 2)
        middle = (points.amin(1) + points.amax(1)) / 2
        on_axis = torch.cat([-middle[:, :2], (distance - middle[:, 2])[:, None]], dim=1)
        pixels = project(points + on_axis[:, None], focal, zero)
        low, high = pixels.amin(1), pixels.amax(1)
        size = (high - low).amax(1)
        height = torch.minimum(size / draw.uniform(0.35, 0.95, draw.count), 1.3 * focal)
        height = torch.maximum(height, 1.06 * (high - low)[:, 1])
        aspect = draw.constant(_ASPECTS)[draw.integers(len(_ASPECTS))]
        width = torch.maximum(height * aspect, 1.06 * (high - low)[:, 0])
        image = torch.stack([width, height], dim=1).round()
        shift = self._shift(draw, pixels, low, high, image / 2)
        transl = on_axis + torch.cat([shift * (distance / focal)[:, None], shift.new_zeros(len(shift), 1)], dim=1)
        return {"transl": transl, "image_size": image, "center_px": (image - 1) / 2, "size_px": size}

    def _shift(self, draw: Draw, pixels: Tensor, low: Tensor, high: Tensor, half: Tensor) -> Float[Tensor, "N 2"]:
        """Random displacement of each body in the image: inside, or across an edge."""
        lowest, highest = -half - low, half - high
        shift = lowest + (highest - lowest) * draw.uniform(0.02, 0.98, draw.count, 2)
        chosen = draw.chance(self.options.cropped)
        if self.options.crop != "edge":
            line = pixels[:, [self.model.names.index(n) for n in _CROP_LINES[self.options.crop]], 1].mean(1)
            across = torch.stack([shift[:, 0], half[:, 1] - line], dim=1)
        else:
            axis, end = draw.integers(2), draw.integers(2)
            beyond = draw.uniform(0.1, 0.4, draw.count)[:, None] * (high - low)
            moved = torch.where(end[:, None] == 0, lowest - beyond, highest + beyond)
            across = torch.where(torch.arange(2, device=self.device) == axis[:, None], moved, shift)
        return torch.where(chosen[:, None], across, shift)


def _turn(axis: Float[Tensor, " 3"], angle: Float[Tensor, " N"]) -> Float[Tensor, "N 3 3"]:
    return roma.rotvec_to_rotmat(angle[:, None] * axis)


def make_people(
    body: BodyModel,
    body_pose: Float[Tensor, "N 63"],
    root_orient: Float[Tensor, "N 3"] | None = None,
    *,
    seed: int,
    options: SyntheticOptions | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> SyntheticPeople:
    """People in the given poses: `PeopleMaker(body, options).make(body_pose, root_orient, seed=seed)`."""
    return PeopleMaker(body, options, dtype=dtype, device=device).make(body_pose, root_orient, seed=seed)
