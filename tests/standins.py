"""Stand-ins for the official body models: right in format and size, human only in their joints' places, random else.

The official files may not be redistributed, so tests run on these. Everything a program can get wrong is present: shape
and expression components, pose correctives that matter, uneven blend weights, a hand mean, face landmarks and contour.
"""

import pickle
from pathlib import Path

import numpy as np
from smplx.vertex_ids import vertex_ids

from bodyfit.data.landmarks import JOINT_NAMES, SMPL_JOINT_NAMES, SMPLH_JOINT_NAMES

# Rest positions in metres: T-pose, y up, facing +z, x to the body's left. The right side mirrors the left.
_MIDDLE = {
    "pelvis": (0, 0, 0),
    "spine1": (0, 0.11, -0.02),
    "spine2": (0, 0.24, -0.01),
    "spine3": (0, 0.30, 0.01),
    "neck": (0, 0.50, -0.02),
    "head": (0, 0.57, 0.02),
    "jaw": (0, 0.58, 0.04),
}
_LEFT = {
    "hip": (0.06, -0.09, 0),
    "knee": (0.10, -0.48, 0),
    "ankle": (0.09, -0.88, -0.03),
    "foot": (0.12, -0.94, 0.09),
    "collar": (0.05, 0.42, 0),
    "shoulder": (0.17, 0.44, -0.02),
    "elbow": (0.43, 0.43, -0.03),
    "wrist": (0.68, 0.43, -0.03),
    "hand": (0.76, 0.43, -0.03),
    "eye_smplhf": (0.03, 0.63, 0.08),
}
_FINGER_Z = {"thumb": 0.05, "index": 0.03, "middle": 0.0, "ring": -0.03, "pinky": -0.05}
_SKIN = {  # offsets of the vertices that smplx takes for landmarks, from the joint that carries them
    "nose": ("head", (0, 0.03, 0.12)),
    "eye": ("head", (0.03, 0.06, 0.09)),
    "ear": ("head", (0.07, 0.04, 0)),
    "BigToe": ("foot", (-0.03, -0.02, 0.09)),
    "SmallToe": ("foot", (0.03, -0.02, 0.06)),
    "Heel": ("ankle", (0, -0.07, -0.05)),
}
_PARENTS = {
    **{f"{side}_{child}": f"{side}_{parent}" for side in ("left", "right") for child, parent in (
        ("knee", "hip"), ("ankle", "knee"), ("foot", "ankle"), ("shoulder", "collar"), ("elbow", "shoulder"),
        ("wrist", "elbow"), ("hand", "wrist"))},
    **{f"{side}_{child}": parent for side in ("left", "right") for child, parent in (
        ("hip", "pelvis"), ("collar", "spine3"), ("eye_smplhf", "head"))},
    "spine1": "pelvis", "spine2": "spine1", "spine3": "spine2", "neck": "spine3", "head": "neck", "jaw": "head",
}  # fmt: skip


def _mirror(point: tuple[float, float, float], side: str) -> tuple[float, float, float]:
    return point if side == "left" else (-point[0], point[1], point[2])


def joint_place(name: str) -> tuple[float, float, float]:
    """Rest position of a joint in metres."""
    if name in _MIDDLE:
        return _MIDDLE[name]
    side, _, joint = name.partition("_")
    if joint in _LEFT:
        return _mirror(_LEFT[joint], side)
    finger, number = joint[:-1], int(joint[-1])
    return _mirror((0.74 + 0.03 * number, 0.43, -0.03 + _FINGER_Z[finger]), side)


def parent_name(name: str) -> str | None:
    """Name of a joint's parent; None for the pelvis."""
    if name == "pelvis" or name in _PARENTS:
        return _PARENTS.get(name)
    return f"{name[:-1]}{int(name[-1]) - 1}" if name[-1] != "1" else f"{name.split('_')[0]}_wrist"


def _skin_place(word: str, names: tuple[str, ...]) -> tuple[int, np.ndarray]:
    """Joint and place of a vertex that smplx.vertex_ids names ('nose', 'reye', 'LBigToe', 'rthumb', ...)."""
    side = {"l": "left", "r": "right"}.get(word[0].lower(), "left")
    point = word if word == "nose" else word[1:]
    if point in _SKIN:
        joint, offset = _SKIN[point]
        joint = joint if joint == "head" else f"{side}_{joint}"
    else:
        joint, offset = f"{side}_{point}3", (0.03, 0, 0)
        if joint not in names:  # SMPL has no fingers
            joint, offset = f"{side}_hand", (0.1, 0, _FINGER_Z[point])
    return names.index(joint), np.add(joint_place(joint), _mirror(offset, side))


def model_arrays(kind: str, *, seed: int = 0, num_betas: int = 10, dtype: type = np.float32) -> dict[str, np.ndarray]:
    """Arrays of a stand-in under the official keys; `kind` is "smplx", "smplh" or "smpl"."""
    rng = np.random.default_rng(seed)
    names = {"smplx": JOINT_NAMES, "smplh": SMPLH_JOINT_NAMES, "smpl": SMPL_JOINT_NAMES}[kind]
    joints = np.array([joint_place(name) for name in names])
    vertices = 10475 if kind == "smplx" else 6890
    carrier = np.arange(vertices) % len(names)
    template = joints[carrier] + rng.normal(0, 0.03, (vertices, 3))
    for word, index in vertex_ids["smplx" if kind == "smplx" else "smplh"].items():
        carrier[index], template[index] = _skin_place(word, names)
    parents = np.array([-1 if (p := parent_name(name)) is None else names.index(p) for name in names])

    weights = np.zeros((vertices, len(names)))
    weights[np.arange(vertices), carrier] = 1
    shared = rng.uniform(0, 0.4, vertices)
    weights[np.arange(vertices), carrier] -= shared
    weights[np.arange(vertices), np.maximum(parents[carrier], 0)] += shared

    regressor = np.zeros((len(names), vertices))
    for joint in range(len(names)):
        chosen = rng.choice(np.flatnonzero(carrier == joint), 9, replace=False)
        regressor[joint, chosen] = rng.dirichlet(np.ones(9))

    expression = 10 if kind == "smplx" else 0
    arrays = {
        "v_template": template,
        "f": rng.integers(0, vertices, (20908 if kind == "smplx" else 13776, 3)).astype(np.uint32),
        "shapedirs": rng.normal(0, 0.01, (vertices, 3, num_betas + expression)),
        "posedirs": rng.standard_normal((vertices, 3, 9 * (len(names) - 1)), dtype=np.float32) * 0.002,
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.stack([parents, np.arange(len(names))]).astype(np.uint32),
    }
    if kind != "smpl":
        arrays |= _hand_arrays(rng)
    if kind == "smplx":
        arrays |= _face_arrays(rng, len(arrays["f"]))
    return {key: value.astype(dtype) if value.dtype.kind == "f" else value for key, value in arrays.items()}


def _hand_arrays(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        "hands_meanl": rng.normal(0, 0.2, 45),
        "hands_meanr": rng.normal(0, 0.2, 45),
        "hands_componentsl": np.linalg.qr(rng.normal(size=(45, 45)))[0],
        "hands_componentsr": np.linalg.qr(rng.normal(size=(45, 45)))[0],
    }


def _face_arrays(rng: np.random.Generator, faces: int) -> dict[str, np.ndarray]:
    return {
        "lmk_faces_idx": rng.integers(0, faces, 51),
        "lmk_bary_coords": rng.dirichlet(np.ones(3), 51),
        "dynamic_lmk_faces_idx": rng.integers(0, faces, (79, 17)),
        "dynamic_lmk_bary_coords": rng.dirichlet(np.ones(3), (79, 17)),
    }


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """As the official .npz: uncompressed, with dictionaries (Python objects) among the arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays, part2num=np.array({"body": 0}, dtype=object))
    return path


def write_pkl(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """As the official .pkl of today: a dictionary of arrays with a sparse joint regressor."""
    from scipy.sparse import csc_matrix

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        pickle.dump({**arrays, "J_regressor": csc_matrix(arrays["J_regressor"]), "bs_style": "lbs"}, stream, protocol=2)
    return path
