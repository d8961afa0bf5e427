"""Results in the layouts of other programs: AMASS, EasyMocap, SMPL. One function for each.

Where a layout holds an orientation and a translation, they may be moved to another frame than the camera's. That turns
the body about its pelvis, which does not lie at the model's origin: `moved` says how.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from roma import rotmat_to_rotvec, rotvec_to_rotmat

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.worlds import Place

Rotation = Float[np.ndarray, "3 3"]


def rest_pelvis(
    body: BodyModel, betas: Float[np.ndarray, " Nb"], expression: Float[np.ndarray, "*n Ne"]
) -> Float[np.ndarray, "*n 3"]:
    """Where the pelvis of a body is before it is posed and moved, m."""
    regressor = body.joint_regressor[0]
    shaped = regressor @ (body.v_template + body.shapedirs[:, :, : len(betas)] @ betas)
    by_expression = np.einsum("v,vcn->cn", regressor, body.exprdirs[:, :, : expression.shape[-1]])
    return shaped + expression @ by_expression.T


def moved(
    body: BodyModel, result: FitResult, rotation: Rotation, shift: Float[np.ndarray, " 3"]
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
    """`global_orient` and `transl` that put the body where `rotation @ x + shift` takes its points x."""
    pelvis = rest_pelvis(body, result.betas, result.expression)
    return moved_poses(pelvis, result.global_orient, result.transl, rotation, shift)


def moved_poses(
    pelvis: Float[np.ndarray, "*n 3"],
    global_orient: Float[np.ndarray, "*n 3"],
    transl: Float[np.ndarray, "*n 3"],
    rotation: Rotation,
    shift: Float[np.ndarray, " 3"],
) -> tuple[Float[np.ndarray, "*n 3"], Float[np.ndarray, "*n 3"]]:
    """As `moved`, for arrays of any shape; `pelvis` is `rest_pelvis`, about which `global_orient` turns the body."""
    orient = rotvec_to_rotmat(torch.from_numpy(global_orient)).numpy()
    turned = rotmat_to_rotvec(torch.from_numpy(rotation @ orient)).numpy()
    return turned, (pelvis + transl) @ rotation.T - pelvis + shift


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


def mean_betas(results: Sequence[FitResult]) -> Float[np.ndarray, " Nb"]:
    """Mean shape numbers of a person; frames in which they were taken for an adult have 0 on the kid axis."""
    most = max(len(result.betas) for result in results)
    return np.mean([np.pad(result.betas, (0, most - len(result.betas))) for result in results], axis=0)


def amass(
    body: BodyModel, results: Sequence[FitResult], places: Sequence[Place], frame_rate: float
) -> dict[str, np.ndarray]:
    """AMASS's SMPL-X layout of the frames of one person: `poses` (T, 165), `trans` (T, 3); `betas` are the mean."""
    put = [moved(body, result, *place) for result, place in zip(results, places, strict=True)]
    rows = {name: np.stack([getattr(result, name) for result in results]) for name in _ROWS}
    rows |= {
        "global_orient": np.stack([turned for turned, _ in put]),
        "transl": np.stack([transl for _, transl in put]),
    }
    betas = mean_betas(results)
    return amass_layout(betas, rows, frame_rate, results[0].body_gender, results[0].body_model)


_ROWS = ("body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose", "leye_pose", "reye_pose", "expression")


def amass_layout(
    betas: Float[np.ndarray, " Nb"],
    rows: Mapping[str, Float[np.ndarray, "T n"]],
    frame_rate: float,
    gender: str,
    body_model: str,
) -> dict[str, np.ndarray]:
    """The arrays of AMASS's SMPL-X layout.

    Args:
        betas: Of the whole motion.
        rows: Parameters under their names in `FitResult`, a row per frame; global_orient and transl in
            the file's world.
        frame_rate: Frames per second.
        gender: Of the body model.
        body_model: Its identity.
    """

    def joined(*names: str) -> np.ndarray:
        return np.concatenate([rows[name] for name in names], axis=1)

    poses = ("global_orient", "body_pose", "jaw_pose", "leye_pose", "reye_pose", "left_hand_pose", "right_hand_pose")
    return {
        "surface_model_type": np.array("smplx"),
        "gender": np.array(gender),
        "mocap_frame_rate": np.array(float(frame_rate)),
        "mocap_time_length": np.array(len(rows["transl"]) / frame_rate),
        "betas": betas,
        "num_betas": np.array(len(betas)),
        "expression": rows["expression"],
        "trans": rows["transl"],
        "poses": joined(*poses),
        "root_orient": rows["global_orient"],
        "pose_body": rows["body_pose"],
        "pose_hand": joined("left_hand_pose", "right_hand_pose"),
        "pose_jaw": rows["jaw_pose"],
        "pose_eye": joined("leye_pose", "reye_pose"),
        "body_model": np.array(body_model),
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
        pelvis = rest_pelvis(body, result.betas, result.expression)
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
