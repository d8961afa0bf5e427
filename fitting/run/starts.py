"""Parameters that other programs wrote, in whatever layout, as starts of a fit: one set per person."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import roma
import torch

from bodyfit.data.body.restricted_pickle import PickledArrays
from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import ArrayFile
from bodyfit.data.results.record import Parameters
from bodyfit.prior.model.vposer import VPoser

log = logging.getLogger(__name__)

KEYS = ("global_orient", "body_pose", "betas", "expression", "transl", "jaw_pose", "left_hand_pose", "right_hand_pose")
_MOST_BYTES = 64 * 1024**2
_LARGEST = 1e4
"""Of metres, radians and shape numbers."""

# What programs call them. 4D-Humans: global_orient, body_pose, betas. SMPLer-X and OSX: smplx_*. ROMP: smpl_*.
# Multi-HMR: rotvec, shape. AMASS: poses, root_orient, pose_body.
_NAMES: dict[str, tuple[str, ...]] = {
    "global_orient": ("global_orient", "smplx_root_pose", "root_pose", "root_orient", "pred_global_orient", "Rh"),
    "body_pose": ("body_pose", "smplx_body_pose", "pose_body", "pred_body_pose"),
    "betas": ("betas", "smplx_shape", "shape", "shapes", "smpl_betas", "pred_betas", "pred_shape"),
    "expression": ("expression", "smplx_expr", "expr"),
    "jaw_pose": ("jaw_pose", "smplx_jaw_pose", "pose_jaw"),
    "left_hand_pose": ("left_hand_pose", "smplx_lhand_pose", "lhand_pose"),
    "right_hand_pose": ("right_hand_pose", "smplx_rhand_pose", "rhand_pose"),
}
_WHOLE = ("poses", "pose", "pred_pose", "pred_rotmat", "smpl_thetas", "thetas", "full_pose", "rotvec")
"""All joints in one array: SMPL's 24, SMPL-H's 52, SMPL-X's 55, or Multi-HMR's 53 (hands, then the jaw)."""
_KNOWN = {"transl", *_WHOLE, *(key for keys in _NAMES.values() for key in keys)}
_MHR = ("mhr_model_params", "body_pose_params", "shape_params", "scale_params", "pred_pose_raw")


class InitError(BodyfitError):
    """A file of starts that cannot be used."""


def read_starts(path: Path, prior: VPoser | None = None) -> list[Parameters]:
    """One set of parameters for each person (row) of an .npz or SMPLify-X .pkl.

    Translations of other programs belong to their own focal lengths and are left out: the fit places the body. Ours,
    `transl`, are taken.

    Args:
        path: the file.
        prior: decodes a body_pose that is the latent of a VPoser (SMPLify-X's files); it has to be that VPoser.

    Raises:
        InitError: naming the file, what was found and what was expected.
    """
    if path.suffix.lower() == ".pkl":
        arrays = _pickled(path)
    else:
        with ArrayFile(path, InitError) as file:
            bad = [k for k in file.keys if k in _KNOWN and (file.dtype(k).kind not in "fiu" or not file.shape(k))]
            if bad:
                raise InitError(f"{path}: '{bad[0]}' holds no rows of numbers. Expected a row for each person.")
            arrays = {k: file.read(k, most=_MOST_BYTES) for k in file.keys if file.dtype(k).kind in "fiu"}
    found = _named(arrays)
    missing = [key for key in ("global_orient", "body_pose") if key not in found]
    if missing:
        if set(_MHR) & arrays.keys():
            raise InitError(
                f"{path}: holds parameters of MHR (SAM 3D Body), which is another body than SMPL-X. Convert them."
            )
        raise InitError(
            f"{path}: has no {' and no '.join(missing)}. Found: {', '.join(arrays) or 'nothing'}. Expected "
            "SMPL-X or SMPL parameters (docs/keypoints.md, Starts)."
        )
    return _rows(path, found, prior)


def _pickled(path: Path) -> dict[str, np.ndarray]:
    file = PickledArrays(path, InitError)
    arrays = {key: file.read(key) for key in file.keys if key != "transl"}
    return {key: array for key, array in arrays.items() if array.dtype.kind in "fiu"}


def _named(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same arrays under smplx's names."""
    found = {
        name: np.asarray(arrays[key], dtype=np.float64)
        for name, keys in _NAMES.items()
        if (key := next((k for k in keys if k in arrays), None)) is not None
    }
    if "transl" in arrays and not {"pred_cam_t", "cam_t", "camera_translation", "cam_trans"} & arrays.keys():
        found["transl"] = np.asarray(arrays["transl"], dtype=np.float64)
    if "body_pose" in found:
        return found
    whole = next((key for key in _WHOLE if key in arrays), None)
    return found if whole is None else found | _parts(np.asarray(arrays[whole], dtype=np.float64), whole)


def _parts(pose: np.ndarray, key: str) -> dict[str, np.ndarray]:
    """Root, body, hands and jaw of an array with all joints."""
    vectors = _axis_angle(pose, key)
    one_person = vectors.ndim == 1 or (vectors.ndim == 2 and vectors.shape[1] == 3)
    joints = vectors.reshape(1 if one_person else len(vectors), -1, 3)
    count = joints.shape[1]
    parts = {"global_orient": joints[:, 0], "body_pose": joints[:, 1:22]}
    hands = {52: 22, 53: 22, 55: 25}.get(count)
    if hands:
        parts |= {
            "left_hand_pose": joints[:, hands : hands + 15],
            "right_hand_pose": joints[:, hands + 15 : hands + 30],
        }
    if count in (53, 55):
        parts["jaw_pose"] = joints[:, 52] if count == 53 else joints[:, 22]
    return parts


def _rows(path: Path, arrays: dict[str, np.ndarray], prior: VPoser | None) -> list[Parameters]:
    orient = _axis_angle(arrays["global_orient"], path)
    count = orient.size // 3 if orient.size and orient.size % 3 == 0 else 0
    rows: dict[str, np.ndarray] = {}
    for key, array in arrays.items():
        array = _axis_angle(array, path) if key.endswith(("orient", "pose")) else array
        if count == 0 or array.size % count or not (np.abs(array) < _LARGEST).all():  # NaN is not
            raise InitError(f"{path}: '{key}' of shape {array.shape} for {count} people, or beyond any body's numbers.")
        one_pose = count == 1 and key.endswith("pose")  # (21, 3) of one person
        if array.ndim > 1 and len(array) != count and not one_pose:
            raise InitError(f"{path}: '{key}' of shape {array.shape} for {count} people.")
        rows[key] = array.reshape(count, -1)
    width = rows["body_pose"].shape[1]
    if width == 32:
        rows["body_pose"], width = _decoded(path, rows["body_pose"], prior), 63
    if width not in (63, 69):
        raise InitError(
            f"{path}: body_pose holds {width} numbers per person. Expected 63 (21 joints) or 69 (SMPL's 23)."
        )
    rows["body_pose"] = rows["body_pose"][:, :63]  # SMPL's two hand joints are not SMPL-X's
    for side in ("left", "right"):
        hand = f"{side}_hand_pose"
        if hand in rows and rows[hand].shape[1] != 45:  # components of a hand model that is not known here
            log.info("%s: %s holds %d components, not 45 angles; hands start anew", path, hand, rows[hand].shape[1])
            del rows[hand]
    return [{key: array[n] for key, array in rows.items()} for n in range(count)]


def _decoded(path: Path, latent: np.ndarray, prior: VPoser | None) -> np.ndarray:
    if prior is None or prior.name.startswith("open"):
        raise InitError(
            f"{path}: body_pose holds 32 numbers, the latent of the VPoser that SMPLify-X was run with. Load that one "
            "with --prior (V02_05 or vposer_v1_0), or save body_pose as 63 axis-angle numbers."
        )
    with torch.no_grad():
        return prior.decode_axis_angle(torch.from_numpy(latent).float()).reshape(len(latent), 63).double().numpy()


def _axis_angle(array: np.ndarray, where: object) -> np.ndarray:
    """Rotation vectors of matrices; what holds three numbers per joint already, as it is."""
    if array.shape[-2:] == (3, 3) and array.ndim > 2:
        return roma.rotmat_to_rotvec(torch.from_numpy(array)).numpy()
    if array.size % 3 and array.size % 32:
        raise InitError(f"{where}: shape {array.shape}. Expected axis-angle numbers or 3 x 3 matrices.")
    return array
