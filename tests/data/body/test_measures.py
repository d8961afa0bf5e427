"""Body measures: against the mesh, under scaling, across joint sets and vertex orders, and against human bodies."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import trimesh

from bodyfit.data.body.body_model import BodyModel, load_body_model
from bodyfit.data.body.measures import DENSITY, closed_volume, measure_body, stand, tape_length
from bodyfit.data.body.model_files import BodyModelError
from bodyfit.data.landmarks import SMPL_JOINT_NAMES, SMPLH_JOINT_NAMES

GENDERS = ("neutral", "female", "male")
LENGTHS = (
    *("stature", "inseam", "arm_span", "head_circumference", "chest_circumference", "waist_circumference"),
    "hip_circumference",
)
GIRTHS = {"head": "head_circumference", "chest": "chest_circumference", "waist": "waist_circumference"}
GIRTHS |= {"hip": "hip_circumference"}


@pytest.fixture(scope="module", params=GENDERS)
def body(request) -> BodyModel:
    return load_body_model(gender=request.param)


@pytest.fixture(scope="module")
def neutral() -> BodyModel:
    return load_body_model()


BETAS = [np.zeros(10), np.array([1.5, -1, 0.5, 1, 0, 0, 1, 0, -1, 0])]


@pytest.mark.parametrize("betas", BETAS, ids=["mean", "other"])
def test_lengths_are_those_of_the_standing_mesh(body, betas):
    vertices = body.v_template + body.shapedirs @ betas
    found = measure_body(body, betas)
    assert found.stature == pytest.approx(np.ptp(vertices[:, 1]), abs=1e-12)
    assert found.arm_span == pytest.approx(np.ptp(vertices[:, 0]), abs=1e-12)
    mesh = trimesh.Trimesh(vertices, body.faces, process=False)
    assert mesh.is_watertight and found.capped_holes == 0
    assert found.volume == pytest.approx(mesh.volume, rel=1e-9)
    assert found.mass == pytest.approx(DENSITY * mesh.volume)


@pytest.mark.parametrize("betas", BETAS, ids=["mean", "other"])
def test_girths_are_the_hulls_of_trimesh_s_sections(body, betas):
    """Planes of trimesh, hulls by walking around the points: no code of ours, and not scipy's hull."""
    found, standing = measure_body(body, betas), stand(body, betas)
    mesh = trimesh.Trimesh(standing.vertices, standing.faces[~standing.arms[standing.faces].any(1)], process=False)
    for level, girth in GIRTHS.items():
        cut = trimesh.intersections.mesh_plane(mesh, [0, 1, 0], [0, getattr(standing, level), 0])
        assert getattr(found, girth) == pytest.approx(_walked_hull(cut.reshape(-1, 3)[:, [0, 2]]), rel=1e-6)


def _walked_hull(points: np.ndarray) -> float:
    """Perimeter of the hull by Andrew's monotone chain."""
    points = [tuple(p) for p in np.unique(points, axis=0)]

    def half(ordered):
        kept: list = []
        for p in ordered:
            while len(kept) > 1 and _turn(kept[-2], kept[-1], p) <= 0:
                kept.pop()
            kept.append(p)
        return kept[:-1]

    ring = np.array(half(points) + half(points[::-1]))
    return float(np.linalg.norm(ring - np.roll(ring, 1, axis=0), axis=1).sum())


def _turn(a, b, c) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def test_below_the_crotch_the_legs_are_apart_and_above_it_they_are_one(body):
    standing = stand(body)
    mesh = trimesh.Trimesh(standing.vertices, standing.faces, process=False)
    loops = [
        len(mesh.section([0, 1, 0], [0, standing.crotch + step, 0]).discrete) for step in (-0.02, -0.004, 0.004, 0.02)
    ]
    assert loops == [2, 2, 1, 1]


def test_a_body_of_eleven_tenths(body):
    larger = replace(body, v_template=1.1 * body.v_template, shapedirs=1.1 * body.shapedirs)
    before, after = (measure_body(one, BETAS[1]) for one in (body, larger))
    for name in LENGTHS:
        assert getattr(after, name) == pytest.approx(1.1 * getattr(before, name), rel=1e-9), name
    assert after.volume == pytest.approx(1.331 * before.volume, rel=1e-9)
    assert after.mass == pytest.approx(1.331 * before.mass, rel=1e-9)


def test_a_body_elsewhere_measures_the_same(neutral):
    moved = replace(neutral, v_template=neutral.v_template + np.array([0.3, -2.0, 0.7]))
    assert asdict(measure_body(moved)) == pytest.approx(asdict(measure_body(neutral)), rel=1e-6)


def test_the_first_beta_makes_taller_bodies_with_longer_legs(body):
    """docs/open_body.md has the statures at -3 and 3."""
    short, mean, tall = (measure_body(body, [beta]) for beta in (-3, 0, 3))
    wanted = {"neutral": (1.37, 1.70, 2.04), "female": (1.39, 1.62, 1.86), "male": (1.55, 1.79, 2.02)}[body.gender]
    assert [m.stature for m in (short, mean, tall)] == pytest.approx(wanted, abs=0.01)
    assert short.inseam < mean.inseam < tall.inseam and short.arm_span < mean.arm_span < tall.arm_span


# Mean and standard deviation of the 2012 anthropometric survey of US Army personnel (ANSUR II; Gordon et al. 2014,
# NATICK/TR-15/007), millimetres and kilograms. Its waist is taken at the navel.
SURVEY = {
    "female": {
        "stature": (1628, 64), "inseam": (774, 45), "arm_span": (1670, 84), "head_circumference": (561, 18),
        "chest_circumference": (947, 83), "waist_circumference": (861, 100), "hip_circumference": (1021, 76),
        "mass": (67.8, 11.0),
    },
    "male": {
        "stature": (1756, 69), "inseam": (846, 47), "arm_span": (1814, 84), "head_circumference": (574, 16),
        "chest_circumference": (1059, 87), "waist_circumference": (941, 112), "hip_circumference": (1017, 77),
        "mass": (85.5, 14.2),
    },
}  # fmt: skip


@pytest.mark.parametrize("gender", GENDERS)
def test_mean_bodies_lie_within_two_deviations_of_people(gender):
    found = asdict(measure_body(load_body_model(gender=gender)))
    for name in SURVEY["female"]:
        people = [SURVEY[sex][name] for sex in (("female", "male") if gender == "neutral" else (gender,))]
        scale = 1 if name == "mass" else 1000
        low, high = min(m - 2 * s for m, s in people), max(m + 2 * s for m, s in people)
        assert low < scale * found[name] < high, name


@pytest.mark.parametrize("gender", GENDERS)
def test_every_likely_shape_can_be_measured_and_is_human(gender):
    """Of 12 bodies drawn from the shape prior, each has a level of everything where people have it."""
    body, rng = load_body_model(gender=gender), np.random.default_rng(0)
    for betas in rng.normal(size=(12, 10)):
        found, standing = measure_body(body, betas), stand(body, betas)
        assert standing.floor < standing.crotch < standing.hip < standing.waist < standing.chest < standing.head
        assert 0.41 < found.inseam / found.stature < 0.53
        assert 0.85 < found.arm_span / found.stature < 1.20
        assert found.waist_circumference < 1.1 * found.hip_circumference
        assert 14 < found.mass / found.stature**2 < 45


def _with_joints(body: BodyModel, kind: str) -> BodyModel:
    """The open body with the joints of another kind; weights of joints that it lacks go to those that carry them."""
    names = {"smpl": SMPL_JOINT_NAMES, "smplh": SMPLH_JOINT_NAMES}[kind]
    weights = np.zeros((body.num_vertices, len(names)))
    for j, name in enumerate(body.joint_names):
        while name not in names:
            name = body.joint_names[body.parents[body.joint_names.index(name)]]
        side = name.split("_")[0]
        hand = kind == "smpl" and name.endswith("wrist") and not body.joint_names[j].endswith("wrist")
        weights[:, names.index(f"{side}_hand" if hand else name)] += body.weights[:, j]
    rows = [body.joint_names.index(n if n in body.joint_names else n.replace("hand", "middle1")) for n in names]
    return replace(
        body, kind=kind, joint_names=names, weights=weights, joint_regressor=body.joint_regressor[rows],
        parents=np.full(len(names), -1),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["smpl", "smplh"])
def test_the_joint_set_does_not_matter(neutral, kind):
    other = measure_body(_with_joints(neutral, kind), BETAS[1])
    assert asdict(other) == pytest.approx(asdict(measure_body(neutral, BETAS[1])), rel=1e-9)


def test_the_order_of_vertices_does_not_matter(neutral):
    order = np.random.default_rng(1).permutation(neutral.num_vertices)
    new = np.argsort(order)
    shuffled = replace(
        neutral, v_template=neutral.v_template[order], shapedirs=neutral.shapedirs[order], faces=new[neutral.faces],
        weights=neutral.weights[order], joint_regressor=neutral.joint_regressor[:, order],
        extra_vertex_ids={name: int(new[i]) for name, i in neutral.extra_vertex_ids.items()},
    )  # fmt: skip
    assert asdict(measure_body(shuffled)) == pytest.approx(asdict(measure_body(neutral)), rel=1e-9)


@pytest.mark.parametrize("kind", ["smplx", "smplh", "smpl"])
def test_bodies_of_the_official_sizes_are_measured(standin_folder, kind):
    """Their surface is random, so that girths say nothing; their extents are those of the mesh."""
    body = load_body_model(standin_folder, kind=kind)
    found = measure_body(body)
    assert found.stature == pytest.approx(np.ptp(body.v_template[:, 1]))
    assert found.arm_span == pytest.approx(np.ptp(body.v_template[:, 0]))
    assert np.isfinite(list(asdict(found).values())).all()


def test_arms_do_not_count_in_girths(neutral):
    """Arms hanging beside the trunk leave the chest as it is."""
    standing = stand(neutral)
    vertices = standing.vertices.copy()
    hanging = standing.arms & (np.abs(vertices[:, 0]) > 0.3)
    vertices[hanging, 1] += standing.chest - vertices[hanging, 1].mean()
    assert replace(standing, vertices=vertices).girth(standing.chest) == standing.girth(standing.chest)
    assert tape_length(vertices[np.abs(vertices[:, 1] - standing.chest) < 0.02][:, [0, 2]]) > 2.5


def test_holes_are_closed_for_the_volume(neutral):
    whole, _ = closed_volume(neutral.v_template, neutral.faces)
    eye = neutral.v_template[neutral.extra_vertex_ids["left_eye"]]
    centres = neutral.v_template[neutral.faces].mean(1)
    torn = neutral.faces[np.linalg.norm(centres - eye, axis=1) > 0.008]
    assert len(torn) < len(neutral.faces)
    volume, holes = closed_volume(neutral.v_template, torn)
    assert holes >= 1 and volume == pytest.approx(whole, rel=1e-3)
    box = trimesh.creation.box((1, 2, 3))
    without_a_side = box.faces[box.face_normals[:, 0] < 0.9]
    assert len(without_a_side) == 10
    assert closed_volume(box.vertices + 5.0, without_a_side) == (pytest.approx(6), 1)


@pytest.mark.parametrize("betas", [[np.nan], [np.inf], np.zeros((1, 10)), np.zeros(11)], ids=["nan", "inf", "2d", "11"])
def test_betas_that_are_none_are_one_clear_error(neutral, betas):
    with pytest.raises(BodyModelError, match=r"betas have shape .* up to 10 finite numbers"):
        measure_body(neutral, betas)


def test_a_shape_that_nobody_has_is_refused(neutral):
    with pytest.raises(BodyModelError, match=r"betas reach -99. .*at most 10"):
        measure_body(neutral, [1, -99])


def test_what_is_no_person_is_one_clear_error(neutral):
    flat = replace(neutral, v_template=neutral.v_template * [1, 0, 1], shapedirs=0 * neutral.shapedirs)
    with pytest.raises(BodyModelError, match="Expected the mesh of a whole person"):
        measure_body(flat)
