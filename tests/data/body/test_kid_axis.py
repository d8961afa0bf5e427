"""The kid axis: one more shape component that leaves the others alone, as smplx has it, and the growth charts."""

import numpy as np
import pytest
import torch

from bodyfit.data.body.age_shapes import average_betas
from bodyfit.data.body.body_model import load_body_model, with_kid_axis
from bodyfit.data.body.measures import measure_body, stand
from bodyfit.data.body.model_files import FILE_VERSION, BodyModelError
from bodyfit.data.body.posing import pose_body
from bodyfit.scripts.open_body.charts import CHARTS, stature_lost


@pytest.fixture(scope="module")
def adult():
    return load_body_model()


@pytest.fixture(scope="module")
def kid():
    return load_body_model(kid=True)


def test_the_ten_betas_are_what_they_were(adult, kid):
    assert (adult.num_betas, kid.num_betas) == (10, 11) and kid.has_kid_axis and not adult.has_kid_axis
    np.testing.assert_array_equal(kid.shapedirs[:, :, :10], adult.shapedirs)
    np.testing.assert_array_equal(kid.v_template, adult.v_template)
    assert kid.name == adult.name


@pytest.mark.parametrize(
    ("gender", "known"),
    [("neutral", "4564698acb30c599"), ("female", "59aa95d3ca2e479f"), ("male", "3dbb59d904eb99ec")],
)
def test_adults_are_those_of_the_first_version_of_the_files(gender, known):
    """Whatever the files learn of children and the old: results of adults stay what they were."""
    assert load_body_model(gender=gender).fingerprint == known


def test_it_is_smplxs_kid(adult, kid, tmp_path):
    smplx = pytest.importorskip("smplx")
    with np.load(adult.path) as file:
        np.save(tmp_path / "template.npy", file["kid_template"])
    model = smplx.create(
        str(adult.path), "smplx", use_pca=False, flat_hand_mean=True, age="kid",
        kid_template_path=str(tmp_path / "template.npy"), num_betas=10,
    )  # fmt: skip
    rng = torch.Generator().manual_seed(0)
    given = {"betas": torch.randn(1, 11, generator=rng), "body_pose": 0.3 * torch.randn(1, 63, generator=rng)}
    given["betas"][:, 10] = 0.6
    given["global_orient"] = torch.zeros(1, 3)
    theirs = model(**given).vertices[0].detach()
    ours = pose_body(kid, **given).vertices[0].float()
    assert (theirs - ours).norm(dim=1).max() < 1e-4
    from_npy = with_kid_axis(adult, tmp_path / "template.npy")
    np.testing.assert_allclose(from_npy.shapedirs, kid.shapedirs, atol=1e-7)


@pytest.mark.parametrize("gender", ["neutral", "female", "male"])
@pytest.mark.parametrize("age", [0, 0.5, 1, 2, 3, 6, 10, 14])
def test_average_children_have_the_measures_of_growth_charts(gender, age):
    """Stature to 0.8 cm, sitting height to 0.4 % of stature, head girth to 1.4 cm, mass to 0.3 kg. One line and ten
    betas of adults do not reach a newborn's small head: it is 8 cm too large, stature 1.5 cm."""
    body, chart = load_body_model(gender=gender, kid=True), CHARTS[gender][age]
    found = measure_body(body, betas := average_betas(body, age))
    standing = stand(body, betas)
    newborn = age == 0
    assert found.stature == pytest.approx(chart.stature, abs=0.015 if newborn else 0.008)
    sitting = (standing.vertex - standing.crotch) / found.stature
    assert sitting == pytest.approx(chart.sitting, abs=0.013 if newborn else 0.004)
    assert found.head_circumference == pytest.approx(chart.head, abs=0.083 if newborn else 0.014)
    assert found.mass == pytest.approx(chart.mass, abs=0.4 if newborn else 0.3)


@pytest.mark.parametrize("gender", ["neutral", "female", "male"])
def test_the_old_are_shorter_by_what_is_published(gender):
    body = load_body_model(gender=gender)
    adult, before = measure_body(body), stature_lost(gender, 44)
    for years in (60, 75, 80):
        old = measure_body(body, average_betas(body, years))
        # 75 lies between two ages of a curve that bends.
        assert adult.stature - old.stature == pytest.approx(stature_lost(gender, years) - before, abs=0.004)
        assert old.inseam == pytest.approx(adult.inseam, abs=0.006)  # it is the trunk that is shorter
        assert old.waist_circumference > adult.waist_circumference + 0.003
        assert old.mass == pytest.approx(adult.mass, rel=0.01)
    np.testing.assert_array_equal(average_betas(body, 30), np.zeros(10))
    np.testing.assert_array_equal(average_betas(body, 120), average_betas(body, 80))


def test_published_losses_of_stature():
    """Sorkin et al. 1999: from 30 to 70 and to 80 years 3 and 5 cm (men), 5 and 8 cm (women)."""
    lost = [stature_lost(gender, years) for gender in ("male", "female") for years in (30, 70, 80)]
    assert lost == pytest.approx([0, 0.03, 0.05, 0, 0.05, 0.08])


def test_bodies_that_know_no_ages_have_average_adults_alone(adult, kid, tmp_path):
    old = load_body_model(rewritten(adult, tmp_path / "old.npz", age_betas=None, bodyfit_version=np.array(2)), kid=True)
    np.testing.assert_allclose(average_betas(old, 6)[:10], 0)
    assert average_betas(old, 6)[10] == average_betas(kid, 6)[10] > 0.3
    assert not average_betas(old, 75).any()
    with pytest.raises(BodyModelError, match="does not know the kid beta of 6 years"):
        average_betas(adult, 6)


@pytest.mark.parametrize("gender", ["neutral", "female", "male"])
def test_statures_shrink_with_the_axis_down_to_a_newborn(gender):
    body = load_body_model(gender=gender, kid=True)
    ages, places = body.kid_ages
    assert ages[-1] == 18 and places[-1] == 0 and places[0] == 1 and (np.diff(places) < 0).all()
    statures = [np.ptp((body.v_template + k * body.shapedirs[:, :, 10])[:, 1]) for k in np.linspace(0, 1, 6)]
    assert (np.diff(statures) < -0.1).all() and 0.45 < statures[-1] < 0.62


def rewritten(body, path, **changed):
    with np.load(body.path) as file:
        arrays = {name: file[name] for name in file.files} | changed
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_old_files_load_and_say_that_they_know_no_children(adult, tmp_path):
    old = rewritten(adult, tmp_path / "old.npz", kid_template=None, kid_ages=None, age_betas=None, bodyfit_version=None)
    assert load_body_model(old).fingerprint == adult.fingerprint
    with pytest.raises(BodyModelError, match="knows no children"):
        load_body_model(old, kid=True)


def test_files_of_a_newer_version_are_refused(adult, tmp_path):
    newer = rewritten(adult, tmp_path / "newer.npz", bodyfit_version=np.array(FILE_VERSION + 1))
    with pytest.raises(BodyModelError, match="newer bodyfit"):
        load_body_model(newer)


def test_a_template_beside_an_official_file_is_found(adult, kid, tmp_path):
    """SMPL-X's own layout: models/smplx/SMPLX_NEUTRAL.npz and smplx_kid_template.npy beside it, or above."""
    (tmp_path / "smplx").mkdir()
    file = rewritten(adult, tmp_path / "smplx" / "SMPLX_NEUTRAL.npz", kid_template=None, kid_ages=None)
    template = adult.v_template * 0.4 + 0.01
    for folder in (tmp_path / "smplx", tmp_path):
        np.save(folder / "smplx_kid_template.npy", template.astype(np.float32))
        found = load_body_model(tmp_path, kid=True)
        assert found.path == file and found.kid_ages is None
        expected = template - template.mean(0) - adult.v_template
        np.testing.assert_allclose(found.shapedirs[:, :, 10], expected, atol=1e-6)
        (folder / "smplx_kid_template.npy").unlink()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (np.zeros((5, 3)), "vertices"),
        (np.zeros(7), "Expected"),
        (np.full((9, 3), np.nan), "finite"),
        (None, "readable"),
    ],
)
def test_other_templates_are_one_clear_error(adult, tmp_path, content, said):
    file = tmp_path / "smplx_kid_template.npy"
    file.write_bytes(b"no numbers") if content is None else np.save(file, content)
    with pytest.raises(BodyModelError, match=said):
        load_body_model(kid=True, kid_template=file)
