"""Results in the layouts of other programs: AMASS, EasyMocap, SMPL. One function for each.

Where a layout holds an orientation and a translation, they may be moved to another frame than the camera's. That turns
the body about its pelvis, which does not lie at the model's origin: `moved` says how.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from roma import rotmat_to_rotvec, rotvec_to_rotmat

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.results.result import FitResult, ResultError

Rotation = Float[np.ndarray, "3 3"]


def rest_pelvis(body: BodyModel, result: FitResult) -> Float[np.ndarray, " 3"]:
    """Where the pelvis of a result's body is before it is posed and moved, m."""
    count = len(result.betas)
    shaped = body.v_template + body.shapedirs[:, :, :count] @ result.betas
    shaped = shaped + body.exprdirs[:, :, : len(result.expression)] @ result.expression
    return body.joint_regressor[0] @ shaped


def moved(
    body: BodyModel, result: FitResult, rotation: Rotation, shift: Float[np.ndarray, " 3"]
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
    """`global_orient` and `transl` that put the body where `rotation @ x + shift` takes its points x."""
    pelvis = rest_pelvis(body, result)
    orient = rotvec_to_rotmat(torch.from_numpy(result.global_orient)).numpy()
    transl = rotation @ (pelvis + result.transl) - pelvis
    turned = rotmat_to_rotvec(torch.from_numpy(rotation @ orient)).numpy()
    return turned, transl + shift


def camera_to_world(result: FitResult) -> tuple[Rotation, Float[np.ndarray, " 3"]]:
    """Rotation and shift that take points of the camera frame to the calibration's world.

    Raises:
        ResultError: where the result does not know where its camera stood.
    """
    if not result.camera_rotation.size or not result.camera_translation.size:
        raise ResultError(
            f"person {result.person_id} of {result.photo or 'no photo'}: where the camera stood is not known. Fit with "
            "a --camera file that holds R and T."
        )
    rotation = result.camera_rotation.T
    return rotation, -rotation @ result.camera_translation


Place = tuple[Rotation, Float[np.ndarray, " 3"]]
"""Rotation and shift from the camera frame to that of a file."""


def amass(
    body: BodyModel, results: Sequence[FitResult], places: Sequence[Place], frame_rate: float
) -> dict[str, np.ndarray]:
    """AMASS's SMPL-X layout of the frames of one person: `poses` (T, 165), `trans` (T, 3); `betas` are the mean."""
    put = [moved(body, result, *place) for result, place in zip(results, places, strict=True)]

    def rows(*names: str) -> np.ndarray:
        return np.stack([np.concatenate([getattr(result, name) for name in names]) for result in results])

    orient = np.stack([turned for turned, _ in put])
    eyes, hands = rows("leye_pose", "reye_pose"), rows("left_hand_pose", "right_hand_pose")
    body_pose, jaw = rows("body_pose"), rows("jaw_pose")
    return {
        "surface_model_type": np.array("smplx"),
        "gender": np.array(results[0].body_gender),
        "mocap_frame_rate": np.array(float(frame_rate)),
        "mocap_time_length": np.array(len(results) / frame_rate),
        "betas": np.stack([result.betas for result in results]).mean(axis=0),
        "num_betas": np.array(len(results[0].betas)),
        "expression": rows("expression"),
        "trans": np.stack([transl for _, transl in put]),
        "poses": np.concatenate([orient, body_pose, jaw, eyes, hands], axis=1),
        "root_orient": orient,
        "pose_body": body_pose,
        "pose_hand": hands,
        "pose_jaw": jaw,
        "pose_eye": eyes,
        "body_model": np.array(results[0].body_model),
    }


_EASYMOCAP_HAND = 6
"""Principal components of a hand in EasyMocap's SMPL-X; it adds the mean itself."""


def easymocap(
    body: BodyModel, results: Sequence[FitResult], rotation: Rotation, shift: Float[np.ndarray, " 3"]
) -> list[dict]:
    """EasyMocap's list of the people of one image: `Rh`, `Th`, `poses` (87 for SMPL-X, 72 for SMPL), `shapes`.

    EasyMocap turns the posed body about the origin, where smplx turns it about the pelvis; `Th` differs by that.
    """
    people = []
    for result in results:
        turned, transl = moved(body, result, rotation, shift)
        pelvis = rest_pelvis(body, result)
        matrix = rotvec_to_rotmat(torch.from_numpy(turned)).numpy()
        person = {
            "id": int(result.person_id) if result.person_id.isdigit() else len(people),
            "Rh": [turned.tolist()],
            "Th": [(transl + pelvis - matrix @ pelvis).tolist()],
            "shapes": [result.betas.tolist()],
        }
        poses = [np.zeros(3), result.body_pose]
        if body.kind == "smplx":
            person["expression"] = [result.expression.tolist()]
            for side in ("left", "right"):
                mean, basis = (getattr(body, f"hand_{what}_{side}") for what in ("mean", "components"))
                away = getattr(result, f"{side}_hand_pose") - mean
                poses.append(np.linalg.lstsq(basis[:_EASYMOCAP_HAND].T, away, rcond=None)[0])
            poses += [result.jaw_pose, result.leye_pose, result.reye_pose]
        else:
            poses.append(np.zeros(6))
        people.append(person | {"poses": [np.concatenate(poses).tolist()]})
    return people


def smpl(
    body: BodyModel, result: FitResult, rotation: Rotation, shift: Float[np.ndarray, " 3"]
) -> dict[str, np.ndarray]:
    """SMPL's pose parameters: the 21 joints that both models have, and SMPL's two hand joints at rest.

    Shape numbers mean nothing to another model: `betas` are kept for SMPL's own fits and are zero else. The pelvis of
    the two models differs by 2 to 3 cm, and `transl` with it.
    """
    turned, transl = moved(body, result, rotation, shift)
    return {
        "global_orient": turned[None],
        "body_pose": np.concatenate([result.body_pose, np.zeros(6)])[None],
        "betas": result.betas[None] if body.kind == "smpl" else np.zeros((1, 10)),
        "transl": transl[None],
        "body_model": np.array(result.body_model),
        "focal_px": np.array(result.focal_px),
        "center_px": result.center_px,
    }
