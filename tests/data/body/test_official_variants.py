"""Variants of the official files, built in their structure from the open body: each poses as the open body does."""

import pickle
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy import sparse

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.body.model_files import BodyModelError
from bodyfit.data.body.posing import pose_body
from bodyfit.data.landmarks import JOINT_NAMES, SKIN_POINT_NAMES, SMPL_JOINT_NAMES, SMPLH_JOINT_NAMES

OPEN = load_body_model()
RNG = np.random.default_rng(0)


# The open body's vertices are not numbered as the official ones, so its files have to say where the landmarks are.
LANDMARKS = {"extra_vertex_ids": np.array([OPEN.extra_vertex_ids[name] for name in SKIN_POINT_NAMES])}


def smplx_arrays(columns):
    """SMPL-X's keys; 20 columns: 10 + 10 (1.0), 400: 300 + 100 (1.1, and the one with a locked head)."""
    shapes = 10 if columns == 20 else 300
    directions = np.zeros((OPEN.num_vertices, 3, columns), dtype=np.float32)
    directions[..., :10] = OPEN.shapedirs
    directions[..., shapes : shapes + 10] = OPEN.exprdirs
    table = np.stack([OPEN.parents, np.arange(55)])
    return LANDMARKS | {
        "v_template": OPEN.v_template, "f": OPEN.faces.astype(np.uint32), "shapedirs": directions,
        "posedirs": OPEN.posedirs, "J_regressor": OPEN.joint_regressor, "weights": OPEN.weights,
        "kintree_table": table.astype(np.uint32),  # the root's parent is 4294967295
        "hands_meanl": OPEN.hand_mean_left, "hands_meanr": OPEN.hand_mean_right,
        "hands_componentsl": OPEN.hand_components_left, "hands_componentsr": OPEN.hand_components_right,
        "lmk_faces_idx": OPEN.face_landmark_faces, "lmk_bary_coords": OPEN.face_landmark_bary,
        "dynamic_lmk_faces_idx": OPEN.contour_faces, "dynamic_lmk_bary_coords": OPEN.contour_bary,
    }  # fmt: skip


def reduced_arrays(names):
    """SMPL's and SMPL-H's keys: the joints that they lack give their weights to the wrist or head."""
    parent_of = {name: JOINT_NAMES[p] if p >= 0 else None for name, p in zip(JOINT_NAMES, OPEN.parents, strict=True)}
    source = {name: name.replace("_hand", "_index1") if name.endswith("_hand") else name for name in names}
    weights = np.zeros((OPEN.num_vertices, len(names)))
    for j, name in enumerate(JOINT_NAMES):
        while name not in source.values():
            name = parent_of[name]
        weights[:, list(source.values()).index(name)] += OPEN.weights[:, j]
    parents = []
    for name in names:
        parent = parent_of[source[name]]
        parents.append(list(source.values()).index(parent) if parent else 2**32 - 1)
    joints = [JOINT_NAMES.index(source[name]) for name in names]
    return LANDMARKS | {
        "v_template": OPEN.v_template, "f": OPEN.faces.astype(np.uint32), "shapedirs": OPEN.shapedirs,
        "posedirs": np.zeros((OPEN.num_vertices, 3, 9 * (len(names) - 1))), "weights": weights,
        "J_regressor": OPEN.joint_regressor[joints],
        "kintree_table": np.array([parents, range(len(names))], dtype=np.uint32),
    }  # fmt: skip


@pytest.fixture
def chumpy(monkeypatch):
    """Makes arrays that are pickled as chumpy's are."""
    modules = {name: ModuleType(name) for name in ("chumpy", "chumpy.ch")}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    modules["chumpy.ch"].Ch = type("Ch", (), {"__module__": "chumpy.ch"})

    def make(array):
        one = modules["chumpy.ch"].Ch()
        one.__dict__ = {"x": array, "_dirty_vars": set(), "_itr": None, "_status": "new"}
        return one

    return make


def posed(body, betas=10, **more):
    rng = np.random.default_rng(7)
    given = {"global_orient": rng.normal(0, 0.5, (1, 3)), "body_pose": rng.normal(0, 0.3, (1, 63))}
    given |= {"betas": np.pad(rng.normal(0, 1, (1, 10)), ((0, 0), (0, betas - 10)))} | more
    return pose_body(body, **{k: torch.from_numpy(v) for k, v in given.items()}).vertices[0].numpy()


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("SMPLX_NEUTRAL.npz", 20),
        ("SMPLX_NEUTRAL.npz", 400),
        ("SMPLX_NEUTRAL_2020.npz", 400),
        ("SMPLX_NEUTRAL.pkl", 400),
    ],
)
def test_smplx(tmp_path, name, columns):
    arrays = smplx_arrays(columns)
    path = tmp_path / "smplx" / name
    path.parent.mkdir()
    if name.endswith(".npz"):
        np.savez(path, **arrays, joint2num=np.array({"a": 0}, dtype=object), part2num=np.array({"a": 0}, dtype=object))
    else:
        path.write_bytes(pickle.dumps(arrays | {"part2num": {"Pelvis": 0}}, protocol=2))
    body = load_body_model(tmp_path, num_betas=10)
    assert (body.kind, body.gender, body.num_betas, body.num_expression) == ("smplx", "neutral", 10, 10)
    face = {"expression": RNG.normal(0, 1, (1, 10)), "jaw_pose": np.array([[0.2, 0.0, 0.0]])}
    np.testing.assert_allclose(posed(body, **face), posed(OPEN, **face), atol=2e-6)
    if columns == 400:
        body = load_body_model(path, num_betas=300)
        assert body.num_betas == load_body_model(path, num_betas=400).num_betas == 300
        np.testing.assert_allclose(posed(body, betas=300, **face), posed(OPEN, **face), atol=2e-6)


@pytest.mark.parametrize(
    "name",
    ["basicModel_neutral_lbs_10_207_0_v1.0.0.pkl", "basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl", "SMPL_NEUTRAL.pkl"],
)
def test_smpl_as_python_2_pickled_it(tmp_path, chumpy, name):
    arrays = reduced_arrays(SMPL_JOINT_NAMES)
    model = arrays | {
        "J_regressor": sparse.csc_matrix(arrays["J_regressor"]), "shapedirs": chumpy(arrays["shapedirs"]),
        "posedirs": chumpy(arrays["posedirs"]), "J_regressor_prior": sparse.csc_matrix(arrays["J_regressor"]),
        "pose_training_info": {"a": 1}, "vert_sym_idxs": np.arange(3), "weights_prior": arrays["weights"],
        "bs_style": "lbs", "bs_type": "lrotmin", "J": chumpy(np.zeros((24, 3))),
    }  # fmt: skip
    path = tmp_path / name
    path.write_bytes(pickle.dumps(model, protocol=0))
    body = load_body_model(tmp_path, kind="smpl")
    assert (body.kind, body.gender, body.num_betas) == ("smpl", "neutral", 10)
    np.testing.assert_array_equal(body.parents[:4], [-1, 0, 0, 0])
    assert np.abs(posed(body) - posed(body, betas=10)).max() == 0
    at_rest = {"body_pose": np.zeros((1, 63))}
    np.testing.assert_allclose(posed(body, **at_rest), posed(OPEN, **at_rest), atol=1e-9)


def test_smplh_of_amass(tmp_path):
    arrays = reduced_arrays(SMPLH_JOINT_NAMES)
    for side, word in (("left", "l"), ("right", "r")):
        arrays[f"hands_mean{word}"] = getattr(OPEN, f"hand_mean_{side}")
        arrays[f"hands_components{word}"] = getattr(OPEN, f"hand_components_{side}")
    arrays["shapedirs"] = np.pad(OPEN.shapedirs, ((0, 0), (0, 0), (0, 6)))  # 16
    path = tmp_path / "smplh" / "female" / "model.npz"
    path.parent.mkdir(parents=True)
    np.savez(path, **arrays, bs_style=np.array(b"lbs"), bs_type=np.array(b"lrotmin"))
    body = load_body_model(tmp_path, gender="female", num_betas=16)
    assert (body.kind, body.gender, body.num_betas) == ("smplh", "female", 16)
    np.testing.assert_allclose(posed(body, betas=16)[:, 0].mean(), posed(OPEN)[:, 0].mean(), atol=0.02)


def test_relatives_are_refused_by_name(tmp_path):
    smpl = reduced_arrays(SMPL_JOINT_NAMES)
    np.savez(tmp_path / "STAR_NEUTRAL.npz", **smpl | {"posedirs": np.zeros((OPEN.num_vertices, 3, 93))})
    skel = {
        "skin_template_v": OPEN.v_template,
        "skel_template_v": OPEN.v_template,
        "J_regressor_osim": np.zeros((24, 9)),
    }
    (tmp_path / "skel_male.pkl").write_bytes(pickle.dumps(skel | {"shapedirs": OPEN.shapedirs}, protocol=2))
    hand = {
        "v_template": np.zeros((778, 3)),
        "weights": np.full((778, 16), 1 / 16),
        "shapedirs": np.zeros((778, 3, 10)),
    }
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps(hand, protocol=2))
    for name, message in (
        ("STAR_NEUTRAL.npz", "STAR, whose pose correctives follow quaternions"),
        ("skel_male.pkl", "SKEL, a body with a skeleton of its own"),
        ("MANO_RIGHT.pkl", r"has 16 joints \(MANO, a hand\)"),
    ):
        with pytest.raises(BodyModelError, match=message):
            load_body_model(tmp_path / name)
