"""People in memory: what a fit gives back on the sample photos, and what it depends on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.detections import MIN_BODY_POINTS
from bodyfit.data.landmarks import BODY, LANDMARK_INDEX, LANDMARK_NAMES
from bodyfit.fitting.run.previous import PreviousResults
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fit import fit
from bodyfit.fitting.solve.fitter import Fitter, pick_device
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.solve.hypotheses import StartConfig
from bodyfit.fitting.solve.stages import StageConfig
from bodyfit.fitting.start.network import load_start_network
from bodyfit.prior.model.checkpoint import load_prior

SAMPLES = Path(__file__).parents[3] / "data" / "assets" / "samples"


def sample(name: str, **options) -> Frame:
    photo, keypoints = SAMPLES / "images" / f"{name}.jpg", SAMPLES / "keypoints" / f"{name}_keypoints.json"
    return Frame.from_files(photo, keypoints, **options)


@pytest.fixture(scope="module")
def fitter() -> Fitter:
    return Fitter()


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return [sample(name) for name in ("two_people", "balance_front", "balance_back", "portrait")]


@pytest.fixture(scope="module")
def results(fitter, frames):
    return fitter.fit(frames)


def test_everybody_is_fitted(results, frames):
    assert len(results) == sum(len(frame.detections) for frame in frames) >= 5
    assert [r.reason for r in results if r.status == "failed"] == []


def test_bodies_lie_on_their_keypoints(results):
    """The median body landmark is within 2.5 % of the person's size of where the detector saw it."""
    assert max(result.error_share_body for result in results) < 0.025


def test_people_stand_head_up(results):
    for result in results:
        y = result.landmarks[:, 1]  # the camera's y points down
        assert y[LANDMARK_INDEX["head"]] < y[LANDMARK_INDEX["pelvis"]]


def test_people_are_of_human_height_and_in_front_of_the_camera(results):
    for result in results:
        thigh = np.linalg.norm(
            result.landmarks[LANDMARK_INDEX["left_hip"]] - result.landmarks[LANDMARK_INDEX["left_knee"]]
        )
        assert 0.25 < thigh < 0.6 and result.transl[2] > 0.5


def test_front_and_back_are_told_apart(results, frames):
    """The nose is nearer than the head joint in the photo from the front, farther in the one from the back."""
    ids = [(frame.name, person) for frame in frames for person in frame.detections.person_ids]
    by_id = dict(zip(ids, results, strict=True))
    nose_before_head = {
        name: by_id[(name, "000")].landmarks[LANDMARK_INDEX["nose"], 2]
        - by_id[(name, "000")].landmarks[LANDMARK_INDEX["head"], 2]
        for name in ("balance_front", "balance_back")
    }
    assert nose_before_head["balance_front"] < 0 < nose_before_head["balance_back"]


def test_landmarks_project_to_their_pixels(results):
    for result in results:
        projected = result.focal_px * result.landmarks[:, :2] / result.landmarks[:, 2:] + result.center_px
        np.testing.assert_allclose(projected, result.landmarks_px, atol=0.01)


def test_same_input_same_result(fitter, frames, results):
    again = fitter.fit(frames)
    for first, second in zip(results, again, strict=True):
        np.testing.assert_array_equal(first.landmarks, second.landmarks)


def test_a_person_does_not_depend_on_the_others(frames):
    """Alone or in a batch: landmarks within 1e-4 m."""
    fitter = Fitter(dtype=torch.float64)
    together = fitter.fit(frames)
    alone = [result for frame in frames for result in fitter.fit([frame])]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a.landmarks, b.landmarks, atol=1e-4)


def test_float32_stops_where_float64_would(fitter, frames, results):
    """Going on from a float32 result in float64 lowers the cost by 5 % at most: precision ends no fit early."""
    exact = Fitter(dtype=torch.float64, config=FitConfig(stages=StageConfig(0, soft_iterations=0, sharp_iterations=0)))
    starts = [{k: v[0] for k, v in result.parameters().items()} for result in results]
    for single, double in zip(results, exact.fit(frames, init=starts), strict=True):
        assert single.cost < 1.05 * double.cost


def test_too_few_points_fail_alone_with_the_reason(fitter, frames):
    d = frames[0].detections
    confidence = d.confidence.copy()
    confidence[0, list(BODY)[2:]] = 0
    few = replace(d, confidence=confidence, problems=(f"only 2, {MIN_BODY_POINTS} needed", *d.problems[1:]))
    results = fitter.fit([replace(frames[0], detections=few)])
    assert [r.status == "failed" for r in results] == [True] + [False] * (len(results) - 1)
    assert "needed" in results[0].reason


def test_nobody_is_no_error(fitter, frames):
    d = frames[0].detections
    nobody = replace(d, xy=d.xy[:0], confidence=d.confidence[:0], person_ids=(), problems=())
    assert fitter.fit([replace(frames[0], detections=nobody)]) == []


def test_an_alternative_hypothesis_comes_with_its_body(frames, results):
    """Who has a runner-up's cost has its pose, too, and it is another one."""
    starts = StartConfig(learned=False, followed=4, finished=4, finished_within=float("inf"))
    stages = StageConfig(keep_within=float("inf"))
    poorer = Fitter(config=FitConfig(start=starts, stages=stages)).fit(frames)
    others = [r for r in poorer if np.isfinite(r.runner_up_cost)]
    assert others and all(r.has_runner_up == np.isfinite(r.runner_up_cost) for r in (*results, *poorer))
    for result in others:
        away = np.abs(result.runner_up_body_pose - result.body_pose).max()
        turned = np.abs(result.runner_up_global_orient - result.global_orient).max()
        assert max(away, turned) > 0.1


def test_a_start_of_others_is_followed(fitter, frames, results, tmp_path):
    """Starting from the result ends at the result; starting from its back does not."""
    people = len(frames[0].detections)
    given = [{k: v[0] for k, v in r.parameters().items()} for r in results[:people]]
    arrays = {k: np.stack([parameters[k] for parameters in given]) for k in given[0] if k != "transl"}

    def started_from(**changed):
        np.savez(tmp_path / "init.npz", **(arrays | changed))
        return fitter.fit(frames[:1], init=PreviousResults(tmp_path / "init.npz").find(frames[0]))

    orient = Rotation.from_rotvec(arrays["global_orient"])
    behind = started_from(global_orient=(orient * Rotation.from_rotvec([0, np.pi, 0])).as_rotvec())
    for first, second, third in zip(results[:people], started_from(), behind, strict=True):
        assert second.cost < 1.01 * first.cost
        assert third.cost > 1.1 * first.cost


def test_focal_is_refined_only_when_asked(frames, results):
    refined = Fitter(config=FitConfig(refine_focal=True)).fit(frames[:1])
    assert results[0].focal_px == frames[0].focal_px != refined[0].focal_px
    assert refined[0].focal_source == f"{results[0].focal_source}, refined"


def test_the_focal_length_asked_for_is_used(fitter):
    frame = sample("portrait", focal="1234px")
    assert fitter.fit([frame])[0].focal_px == pytest.approx(1234)


def test_keypoints_without_hands_and_face_still_fit(fitter, frames):
    d = frames[0].detections
    confidence = np.zeros_like(d.confidence)
    confidence[:, list(BODY)] = d.confidence[:, list(BODY)]
    body_only = replace(frames[0], detections=replace(d, confidence=confidence))
    result = fitter.fit([body_only])[0]
    assert result.error_share_body < 0.025 and np.isnan(result.error_share_hands)


def test_models_without_hands_or_face_can_be_fitted(frames, standin_smpl_path, standin_smplh_path):
    """SMPL has no fingers and no face landmarks: those rows are NaN, and the rest is there."""
    from bodyfit.data.body.body_model import load_body_model

    for path in (standin_smpl_path, standin_smplh_path):
        result = Fitter(load_body_model(path)).fit(frames[:1])[0]
        assert np.isnan(result.landmarks[LANDMARK_INDEX["contour_middle"]]).all()
        assert np.isfinite(result.landmarks[LANDMARK_INDEX["left_knee"]]).all()
        assert result.landmark_names == LANDMARK_NAMES


def test_asking_for_a_missing_device_says_so():
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(ValueError, match="sees no CUDA device"):
        pick_device("cuda")


def test_the_caller_keeps_prior_and_network_as_they_were():
    """A float64 prior that somebody trains is not cast or frozen by a fitter, and neither is a start network."""
    prior, network = load_prior().double().requires_grad_(True).train(), load_start_network().double()
    Fitter(prior=prior, network=network)
    for module in (prior, network):
        assert all(p.dtype == torch.float64 for p in module.parameters())
    assert prior.training and all(p.requires_grad for p in prior.parameters())


def test_landmarks_that_recur_are_prepared_once(fitter):
    """A set takes 14 MB and a twentieth of a second; nearly all batches of a run see the same."""
    confidence = np.zeros((2, 144))
    confidence[0, :30], confidence[1, 20:40] = 0.5, 1.0
    other = confidence.copy()
    other[1, 50] = 0.5
    model = fitter.landmarks.model_for(confidence)
    assert model is fitter.landmarks.model_for(confidence[::-1]) and model is not fitter.landmarks.model_for(other)
    assert fitter.landmarks.of(model) is fitter.landmarks.of(fitter.landmarks.model_for(confidence))


def test_identity_tells_priors_and_networks_of_one_name_apart():
    """Every trained prior is called alike: the weights decide, and a start network counts."""
    first, other, same = Fitter(), load_prior(), Fitter(prior=load_prior())
    with torch.no_grad():
        other.decoder[0].bias[0] += 1e-3
    network = load_start_network()
    network.last[1].bias[0] += 1e-3
    assert first.identity == same.identity and first.identity["prior"] != Fitter(prior=other).identity["prior"]
    assert first.identity["network"] != Fitter(network=network).identity["network"]


def test_identity_tells_bodies_of_one_name_apart(body):
    thinner = replace(body, shapedirs=0.9 * body.shapedirs)
    assert thinner.name == body.name and thinner.fingerprint != body.fingerprint == replace(body).fingerprint


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda frames: fit(frames[0]), r"frames is a Frame\. Expected a list of frames: fit\(\[frame\]\)"),
        (lambda frames: fit("photo.jpg"), r"frames is a str\. Expected a list"),
        (lambda frames: fit(["photo.jpg"]), r"one of frames is a str\. Expected a Frame: Frame\.from_files"),
        (lambda frames: fit(frames, body="SMPLX_NEUTRAL.npz"), r"body is a str\. .* load_body_model\(path\)"),
        (lambda frames: fit(frames, prior="V02_05"), r"prior is a str\. .* load_prior\(path\)"),
        (lambda frames: Fitter(config={"refine_focal": True}), r"config is a dict\. Expected a FitConfig"),
    ],
)
def test_the_wrong_kind_of_thing_is_said(frames, wrong, message):
    with pytest.raises(BodyfitError, match=message):
        wrong(frames)


def test_a_device_is_given_as_pytorch_writes_it():
    assert pick_device(torch.device("cpu")) == pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("device", ["gpu", "CPU", "", 0, None])
def test_a_device_that_is_none_is_one_clear_error(device):
    with pytest.raises(BodyfitError, match=r"device .* cannot be used .*Expected 'auto', 'cpu', 'cuda'"):
        pick_device(device)
