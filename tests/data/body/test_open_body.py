"""The shipped open body is human, symmetric and whole, in SMPL-X's format, with joints and landmarks in place."""

from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.body.posing import pose_body
from bodyfit.data.landmarks import JOINT_NAMES, LANDMARK_NAMES, MIRRORED

GENDERS = ("neutral", "female", "male")
X_FLIP = np.array([-1.0, 1.0, 1.0])


def path_of(gender):
    return files("bodyfit.data").joinpath(f"assets/body/smplx_open_{gender}.npz")


@pytest.fixture(scope="module", params=GENDERS)
def body(request):
    return load_body_model(path_of(request.param))


@pytest.fixture(scope="module")
def neutral():
    return load_body_model(path_of("neutral"))


@pytest.fixture(scope="module")
def mirror(neutral):
    """Vertex on the other side, found by place."""
    distance, other = cKDTree(neutral.v_template).query(neutral.v_template * X_FLIP)
    assert distance.max() < 1e-5
    return other


def posed(body, **degrees):
    """Vertices and joints with joints turned as named, axis-angle in degrees; `betas` as they are."""
    betas = torch.zeros(1, 10, dtype=torch.float64)
    pose = torch.zeros(55, 3, dtype=torch.float64)
    for name, value in degrees.items():
        if name == "betas":
            betas[0, : len(value)] = torch.tensor(value, dtype=torch.float64)
        else:
            pose[JOINT_NAMES.index(name)] = torch.deg2rad(torch.tensor(value, dtype=torch.float64))
    result = pose_body(
        body,
        betas=betas,
        global_orient=pose[:1],
        body_pose=pose[None, 1:22].flatten(1),
        jaw_pose=pose[22:23],
        left_hand_pose=pose[None, 25:40].flatten(1),
        right_hand_pose=pose[None, 40:55].flatten(1),
    )
    return result.vertices[0].numpy(), result.joints[0].numpy()


def volume(vertices, faces):
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def below(body, joint):
    chosen = [joint]
    for other in range(joint + 1, body.num_joints):
        if body.parents[other] in chosen:
            chosen.append(other)
    return chosen


def face_points(body, row=0):
    """The 51 inner and the 17 contour landmarks on the template."""
    inner = np.einsum("ki,kic->kc", body.face_landmark_bary, body.v_template[body.faces[body.face_landmark_faces]])
    contour = np.einsum("ki,kic->kc", body.contour_bary[row], body.v_template[body.faces[body.contour_faces[row]]])
    return dict(zip(LANDMARK_NAMES[76:], np.concatenate([inner, contour]), strict=True))


def test_smplx_loads_the_file_and_poses_it_as_we_do(neutral):
    import smplx

    model = smplx.create(
        str(path_of("neutral")),
        model_type="smplx",
        use_pca=False,
        flat_hand_mean=True,
        num_betas=10,
        num_expression_coeffs=10,
        use_face_contour=True,
    ).double()
    generator = torch.Generator().manual_seed(0)
    numbers = {
        name: 0.3 * torch.randn(1, size, generator=generator, dtype=torch.float64)
        for name, size in {"betas": 10, "expression": 10, "global_orient": 3, "body_pose": 63, "jaw_pose": 3}.items()
    }
    official = model(**numbers)
    assert official.joints.shape == (1, 144, 3)
    ours = pose_body(neutral, **numbers)
    np.testing.assert_allclose(ours.vertices.numpy(), official.vertices.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("gender", GENDERS)
def test_file_is_small_and_says_what_it_is(gender):
    with np.load(path_of(gender), allow_pickle=False) as arrays, np.load(path_of("neutral")) as neutral:
        assert set(arrays.files) == set(neutral.files)
        assert str(arrays["bodyfit_name"]).startswith(f"open-{gender}-")
        assert str(arrays["licence"]).startswith("CC0-1.0")
    assert len(path_of(gender).read_bytes()) < 4e6


def test_body_is_symmetric(body, mirror):
    np.testing.assert_allclose(body.v_template[mirror] * X_FLIP, body.v_template, atol=2e-6)
    np.testing.assert_allclose(body.shapedirs[mirror] * X_FLIP[:, None], body.shapedirs, atol=2e-5)
    other = list(MIRRORED[:55])
    np.testing.assert_allclose(body.weights[mirror][:, other], body.weights, atol=1e-6)
    joints = body.joint_regressor @ body.v_template
    np.testing.assert_allclose(joints[other] * X_FLIP, joints, atol=1e-5)


def test_mirrored_poses_give_mirrored_bodies(body, mirror):
    left, _ = posed(
        body, left_shoulder=(10, -40, 50), left_elbow=(70, -80, 0), left_hip=(-60, 10, 15), left_knee=(70, 0, 0)
    )
    right, _ = posed(
        body, right_shoulder=(10, 40, -50), right_elbow=(70, 80, 0), right_hip=(-60, -10, -15), right_knee=(70, 0, 0)
    )
    np.testing.assert_allclose(right[mirror] * X_FLIP, left, atol=2e-4)


def test_triangles_face_outward_and_have_area(body):
    a, b, c = (body.v_template[body.faces[:, i]] for i in range(3))
    assert (np.linalg.norm(np.cross(b - a, c - a), axis=1) > 0).all()
    assert 0.03 < volume(body.v_template, body.faces) < 0.12  # cubic metres; negative were they inside out


def test_statures_are_human_and_the_first_beta_is_stature(body):
    statures = [np.ptp((body.v_template + beta * body.shapedirs[..., 0])[:, 1]) for beta in (-3, -2, -1, 0, 1, 2, 3)]
    assert statures[0] > 1.3 and statures[-1] < 2.15 and 1.55 < statures[3] < 1.85
    assert (np.diff(statures) > 0.03).all()


def test_other_betas_keep_bodies_human(body):
    for component in range(1, 10):
        for beta in (-3.0, 3.0):
            vertices = body.v_template + beta * body.shapedirs[..., component]
            litres_per_cubed_metre = 1000 * volume(vertices, body.faces) / np.ptp(vertices[:, 1]) ** 3
            assert 7 < litres_per_cubed_metre < 30  # ponderal index: starved adults about 8, very fat ones about 25


def test_blend_weights_sum_to_one(body):
    assert (body.weights >= 0).all()
    np.testing.assert_allclose(body.weights.sum(1), 1, atol=1e-6)


def test_joint_regressor_is_a_mean_of_few_vertices(body):
    assert (body.joint_regressor >= 0).all()
    np.testing.assert_allclose(body.joint_regressor.sum(1), 1, atol=1e-5)
    assert (body.joint_regressor > 0).sum(1).max() < 60


@pytest.mark.parametrize("beta", [-3.0, 3.0])
def test_joints_lie_inside_the_body(body, beta):
    vertices = body.v_template + beta * body.shapedirs[..., 0]
    corners = vertices[body.faces][None] - (body.joint_regressor @ vertices)[:, None, None]
    length = np.linalg.norm(corners, axis=-1)
    a, b, c = (corners[:, :, i] for i in range(3))
    numerator = (a * np.cross(b, c)).sum(-1)
    dots = [(corners[:, :, i] * corners[:, :, (i + 1) % 3]).sum(-1) * length[:, :, (i + 2) % 3] for i in range(3)]
    solid_angle = 2 * np.arctan2(numerator, length.prod(-1) + sum(dots))  # Van Oosterom and Strackee 1983
    winding = solid_angle.sum(1) / (4 * np.pi)
    outside = [name for name, number in zip(JOINT_NAMES, winding, strict=True) if number < 0.5]
    assert not outside


@pytest.mark.parametrize("name", ["left_elbow", "right_wrist", "left_shoulder", "right_knee", "left_hip", "neck"])
def test_turning_a_joint_moves_what_hangs_below_and_its_skin_only(body, name):
    joint = JOINT_NAMES.index(name)
    rest, joints = posed(body)
    vertices, _ = posed(body, **{name: (20, 20, 20)})
    moved = np.linalg.norm(vertices - rest, axis=1)
    hanging = body.weights[:, below(body, joint)].sum(1)
    assert (moved[hanging > 0.999] > 0).mean() > 0.99
    far = np.linalg.norm(rest - joints[joint], axis=1) > 0.3
    assert moved[(hanging == 0) & far].max() < 5e-4
    assert moved[hanging == 0].max() < 0.02  # pose correctives reach a little beyond the blend


def test_twisted_forearm_keeps_its_volume(body):
    """Blend skinning alone pinches it: this is what the pose correctives are for."""
    rest = volume(body.v_template, body.faces)
    plain = replace(body, posedirs=np.zeros_like(body.posedirs))
    lost = {
        label: rest - volume(posed(one, left_elbow=(90, 0, 0))[0], one.faces)
        for label, one in (("plain", plain), ("ours", body))
    }
    assert lost["plain"] > 2e-5  # cubic metres
    assert abs(lost["ours"]) < 0.5 * lost["plain"]


def test_jaw_opens_the_mouth(body):
    closed, _ = posed(body)
    opened, _ = posed(body, jaw=(15, 0, 0))
    drop = {}
    for name in ("lip_top", "lip_bottom", "nose4", "contour_middle"):
        index = LANDMARK_NAMES.index(name) - 76
        face = body.faces[body.face_landmark_faces[index] if index < 51 else body.contour_faces[0, index - 51]]
        drop[name] = (closed - opened)[face, 1].mean()
    assert drop["lip_bottom"] > 0.01 and drop["contour_middle"] > 0.01
    assert abs(drop["lip_top"]) < 0.003 and abs(drop["nose4"]) < 1e-3


def test_hands_mirror_and_close(body):
    signs = np.tile([1.0, -1.0, -1.0], 15)
    np.testing.assert_allclose(body.hand_components_left * signs, body.hand_components_right, atol=1e-6)
    np.testing.assert_allclose(body.hand_mean_left * signs, body.hand_mean_right, atol=1e-6)
    np.testing.assert_allclose(body.hand_components_left @ body.hand_components_left.T, np.eye(45), atol=1e-5)
    tip, wrist = body.extra_vertex_ids["left_middle"], JOINT_NAMES.index("left_wrist")
    reach = []
    for amount in (-0.5, 0.0, 1.0):
        pose = body.hand_mean_left + amount * body.hand_components_left[0]
        degrees = {JOINT_NAMES[25 + i]: tuple(np.degrees(pose[3 * i : 3 * i + 3])) for i in range(15)}
        vertices, joints = posed(body, **degrees)
        reach.append(np.linalg.norm(vertices[tip] - joints[wrist]))
    assert reach[0] > reach[1] > reach[2]


def test_face_landmarks_lie_on_the_skin_in_ibug_order(body):
    for weights, triangles in (
        (body.face_landmark_bary, body.face_landmark_faces),
        (body.contour_bary, body.contour_faces),
    ):
        assert (weights >= 0).all() and (triangles >= 0).all() and (triangles < len(body.faces)).all()
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    at = face_points(body)
    assert (np.diff([at[f"right_eye_brow{i}"][0] for i in range(1, 6)]) > 0).all()  # the person's right is at -x
    assert at["right_eye1"][0] < at["right_eye4"][0] < 0 < at["left_eye4"][0] < at["left_eye1"][0]
    assert at["right_eye2"][1] > at["right_eye6"][1] and at["right_eye3"][1] > at["right_eye5"][1]
    column = [
        at[name][1] for name in ("right_eye_brow3", "nose1", "nose2", "nose3", "nose4", "nose_middle", "mouth_top")
    ]
    assert (np.diff(column) < 0).all()
    lips = [at[name][1] for name in ("mouth_top", "lip_top", "lip_bottom", "mouth_bottom", "contour_middle")]
    assert (np.diff(lips) < 0).all()
    for name, place in at.items():
        if name.startswith("right_"):
            np.testing.assert_allclose(at["left_" + name.removeprefix("right_")] * X_FLIP, place, atol=1e-5)


@pytest.mark.parametrize(("row", "yaw"), [(0, 0), (20, -20), (39, -39), (59, 20), (78, 39)])
def test_contour_is_the_outline_that_a_camera_in_front_sees(body, row, yaw):
    """Row 0..39 of smplx's table: turned by minus that many degrees about +y; 40..78: by row - 39."""
    angle = np.radians(yaw)
    sideways = np.array([np.cos(angle), 0, np.sin(angle)])  # picture x of a point of the unturned head
    contour = np.stack(list(face_points(body, row).values())[51:])
    assert (
        np.diff(contour @ sideways)[2:-2] > 0
    ).all()  # right ear to left ear, beyond the upright part before the ears
    assert (np.diff(contour[:9, 1]) < 0).all() and (np.diff(contour[8:, 1]) > 0).all()
    outward = sideways if yaw > 0 else -sideways  # the side turned away, where the cheek is the outline
    head = body.weights[:, JOINT_NAMES.index("head")] + body.weights[:, JOINT_NAMES.index("jaw")] > 0.9
    for point in contour[10:15] if yaw > 0 else contour[2:7]:
        level = head & (np.abs(body.v_template[:, 1] - point[1]) < 0.003) & (body.v_template[:, 2] > point[2] - 0.005)
        assert (body.v_template[level] @ outward).max() < point @ outward + 0.004


def test_extra_points_are_where_detectors_mark_them(body):
    at = {name: body.v_template[vertex] for name, vertex in body.extra_vertex_ids.items()}
    at |= dict(zip(JOINT_NAMES, body.joint_regressor @ body.v_template, strict=True))
    floor = body.v_template[:, 1].min()
    for side, sign in (("left", 1), ("right", -1)):
        assert sign * at[f"{side}_ear"][0] > 0.05 and abs(at[f"{side}_ear"][1] - at["nose"][1]) < 0.04
        assert 0.005 < at[f"{side}_eye"][2] - at[f"{side}_eye_smplhf"][2] < 0.025
        assert at[f"{side}_heel"][2] < at[f"{side}_ankle"][2] < at[f"{side}_big_toe"][2]
        assert sign * at[f"{side}_big_toe"][0] < sign * at[f"{side}_small_toe"][0]
        assert max(at[f"{side}_{name}"][1] for name in ("heel", "big_toe", "small_toe")) < floor + 0.05
        for finger in ("thumb", "index", "middle", "ring", "pinky"):
            assert sign * at[f"{side}_{finger}"][0] > sign * at[f"{side}_{finger}3"][0] + 0.01
    assert at["nose"][2] == pytest.approx(max(point[2] for name, point in at.items() if "toe" not in name), abs=0.01)


def test_neutral_body_reaches_shapes_it_was_not_fitted_to(neutral):
    """Random people of the female and male files, whose components are their own, from the neutral file's ten betas."""
    generator = np.random.default_rng(0)
    basis = neutral.shapedirs.reshape(-1, 10)
    for gender in ("female", "male"):
        other = load_body_model(path_of(gender))
        for _ in range(5):
            person = other.v_template + other.shapedirs @ generator.normal(size=10)
            betas = np.linalg.lstsq(basis, (person - neutral.v_template).ravel(), rcond=None)[0]
            rest = person - neutral.v_template - neutral.shapedirs @ betas
            assert np.linalg.norm(rest, axis=1).mean() < 0.009
            assert np.abs(betas).max() < 5
