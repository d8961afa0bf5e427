"""Body models are read right from every format, safely, and bad files are refused with a reason."""

import pickle
import shutil

import numpy as np
import pytest

from bodyfit.data.body.body_model import BodyModelError, load_body_model
from bodyfit.data.landmarks import JOINT_NAMES, SKIN_POINT_NAMES


@pytest.mark.parametrize(("kind", "joints", "expression"), [("smplx", 55, 10), ("smplh", 52, 0), ("smpl", 24, 0)])
def test_each_kind_is_told_by_its_joints(standin_folder, kind, joints, expression):
    body = load_body_model(standin_folder, kind=kind)
    assert (body.kind, body.num_joints, body.num_expression, body.num_betas) == (kind, joints, expression, 10)
    assert body.parents[0] == -1 and set(body.extra_vertex_ids) == set(SKIN_POINT_NAMES)
    assert (body.hand_mean_left is None) == (kind == "smpl")
    assert (body.contour_faces is None) == (kind != "smplx")


def test_extra_points_are_those_of_smplx(standin_smplx_path):
    from smplx import create

    official = create(str(standin_smplx_path), model_type="smplx").vertex_joint_selector.extra_joints_idxs.tolist()
    body = load_body_model(standin_smplx_path)
    assert [body.extra_vertex_ids[name] for name in SKIN_POINT_NAMES] == official
    assert body.joint_names == JOINT_NAMES


def test_npz_and_pkl_give_the_same_model(standins, tmp_path):
    arrays = standins.model_arrays("smplh")
    pickled = load_body_model(standins.write_pkl(tmp_path / "SMPLH_NEUTRAL.pkl", arrays))
    plain = load_body_model(standins.write_npz(tmp_path / "SMPLH_NEUTRAL.npz", arrays))
    for name in ("v_template", "faces", "shapedirs", "posedirs", "joint_regressor", "weights", "parents"):
        np.testing.assert_array_equal(getattr(pickled, name), getattr(plain, name), err_msg=name)


def test_a_folder_gives_smplx_first_and_the_gender_asked_for(standins, standin_folder, tmp_path):
    folder = tmp_path / "models"
    smpl = folder / "smpl" / "basicModel_f_lbs_10_207_0_v1.0.0.pkl"
    smpl.parent.mkdir(parents=True)
    shutil.copy(standin_folder / "smpl" / "SMPL_NEUTRAL.pkl", smpl)
    (folder / "smplx").symlink_to(standin_folder / "smplx")
    assert load_body_model(folder).kind == "smplx"
    female = load_body_model(folder, gender="female")
    assert (female.kind, female.gender) == ("smpl", "female")
    with pytest.raises(BodyModelError, match=r"no male body model.*SMPLX_NEUTRAL.npz.*Expected, say, smplx/SMPLX_MALE"):
        load_body_model(folder, gender="male")


def test_full_smplx_files_keep_expression_after_300_betas(standins, tmp_path):
    arrays = standins.model_arrays("smplx")
    wide = np.zeros((10475, 3, 400), np.float32)
    wide[:, :, 0], wide[:, :, 300] = 1, 2
    path = standins.write_npz(tmp_path / "SMPLX_FEMALE.npz", arrays | {"shapedirs": wide})
    body = load_body_model(path, num_betas=20, num_expression=50)
    assert body.gender == "female"
    assert (body.num_betas, body.num_expression) == (20, 50)
    assert (body.shapedirs[:, :, 0] == 1).all() and (body.exprdirs[:, :, 0] == 2).all()


def test_a_name_says_which_file_it_was(standin_smplx_path):
    name = load_body_model(standin_smplx_path).name
    assert name.startswith("SMPLX_NEUTRAL sha256:") and len(name) == len("SMPLX_NEUTRAL sha256:") + 12


@pytest.fixture(scope="module")
def small_file(standins, tmp_path_factory):
    """Write a stand-in of SMPL with some arrays changed (None: left out) and give its path."""
    arrays = standins.model_arrays("smpl")
    folder = tmp_path_factory.mktemp("changed")

    def write(**changes):
        changed = {key: value for key, value in (arrays | changes).items() if value is not None}
        return standins.write_npz(folder / "SMPL_NEUTRAL.npz", changed)

    return write


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": None}, r"SMPL_NEUTRAL.npz: .*no 'weights'. Found: J_regressor, f, "),
        ({"posedirs": np.zeros((6890, 3, 10))}, r"'posedirs' has shape \(6890, 3, 10\), expected 6890 x 3 x 207"),
        ({"v_template": np.full((6890, 3), np.nan)}, "'v_template' holds values that are not finite"),
        ({"weights": np.full((6890, 24), 1.0)}, "must sum to one"),
        ({"weights": np.full((6890, 16), 1 / 16)}, r"16 joints \(MANO, a hand\). Expected a body of 55"),
        ({"f": np.full((4, 3), 6890)}, "'f' points outside the model"),
        ({"f": np.array({"a": 1}, dtype=object)}, "'f' holds Python objects"),
        ({"kintree_table": np.stack([np.arange(24)] * 2)}, "each joint's parent before the joint"),
    ],
)
def test_a_bad_file_is_refused_with_what_was_found_and_expected(small_file, changes, message):
    with pytest.raises(BodyModelError, match=message):
        load_body_model(small_file(**changes))


def test_unknown_mesh_needs_its_extra_points(standins, tmp_path):
    arrays = standins.model_arrays("smpl")
    for key in ("v_template", "shapedirs", "posedirs", "weights"):
        arrays[key] = arrays[key][:6000]
    arrays |= {"J_regressor": arrays["J_regressor"][:, :6000], "f": arrays["f"] % 6000}
    with pytest.raises(BodyModelError, match="6000 vertices and no 'extra_vertex_ids'"):
        load_body_model(standins.write_npz(tmp_path / "SMPL_NEUTRAL.npz", arrays))
    ids = np.arange(21)
    own = load_body_model(standins.write_npz(tmp_path / "SMPL_MALE.npz", arrays | {"extra_vertex_ids": ids}))
    assert [own.extra_vertex_ids[name] for name in SKIN_POINT_NAMES] == ids.tolist()


def test_missing_truncated_and_foreign_files(standin_smpl_path, standin_smplh_path, tmp_path):
    with pytest.raises(BodyModelError, match="no such file"):
        load_body_model(tmp_path / "nothing.npz")
    for source in (standin_smpl_path, standin_smplh_path):
        cut = tmp_path / source.name
        cut.write_bytes(source.read_bytes()[:5000])
        with pytest.raises(BodyModelError, match=f"{source.name}.*complete"):
            load_body_model(cut)
    other = tmp_path / "SMPL_NEUTRAL.txt"
    other.write_text("hello")
    with pytest.raises(BodyModelError, match=r"suffix \.npz or \.pkl, found '\.txt'"):
        load_body_model(other)


class _Attack:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickles_cannot_run_code(tmp_path, protocol):
    path, marker = tmp_path / "SMPL_NEUTRAL.pkl", tmp_path / "was_here"
    path.write_bytes(pickle.dumps({"v_template": _Attack(marker)}, protocol=protocol))
    with pytest.raises(BodyModelError, match=r"refused, it asks for '(io|_io).open'"):
        load_body_model(path)
    assert not marker.exists()
