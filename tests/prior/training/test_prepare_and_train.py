"""Motion files to weights, on a small made-up AMASS: splits, thinning, resuming, and the same weights again."""

import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import tyro
from scipy.spatial.transform import Rotation

from bodyfit.data.errors import BodyfitError
from bodyfit.prior.model import rotations as rot
from bodyfit.prior.model.checkpoint import load_prior
from bodyfit.prior.training.dataset import load_poses
from bodyfit.prior.training.prepare import JOURNAL, PrepareConfig, prepare_motion, resample, thin_out
from bodyfit.prior.training.recipes import OURS, RECIPES, VPOSER_V2
from bodyfit.prior.training.train import Batches, mixed, train_prior
from bodyfit.scripts.cli import main
from bodyfit.scripts.prior_train import PriorTrain


def walk(frames, seed, width=156):
    """Smooth random motion."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 4 * np.pi, frames)[:, None]
    poses = np.zeros((frames, width))
    poses[:, :66] = 0.4 * np.sin(time + rng.uniform(0, 6, 66)) * rng.normal(0, 0.6, 66)
    return poses


@pytest.fixture
def amass(tmp_path):
    folder = tmp_path / "amass"
    takes = [("CMU/01/01_01", 0), ("CMU/02/02_01", 1), ("SFU/0005/0005_Walk", 2), ("SSM_synced/s1/jump", 3)]
    for name, seed in takes:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.savez(folder / f"{name}_poses.npz", poses=walk(600, seed), mocap_framerate=120.0, gender="male")
    # The same take once more as SMPL-X, a copy, a shape file and a broken one.
    np.savez(folder / "CMU/01/01_01_stageii.npz", poses=walk(600, 0, 165), mocap_frame_rate=120.0)
    (folder / "CMU/01/copy_poses.npz").write_bytes((folder / "CMU/01/01_01_poses.npz").read_bytes())
    np.savez(folder / "CMU/01/shape.npz", betas=np.zeros(16))
    (folder / "CMU/02/broken_poses.npz").write_bytes(b"PK nothing")
    return folder


def test_amass_goes_to_its_published_split_and_the_rest_is_named(amass, tmp_path):
    manifest = prepare_motion([amass], tmp_path / "out")
    assert {name: split["clips"] for name, split in manifest["splits"].items()} == {
        "test": 1,
        "train": 2,
        "validation": 1,
    }
    reasons = {item["source"].rsplit("/", 1)[1]: item["reason"] for item in manifest["left_out"]}
    assert set(reasons) == {"01_01_stageii.npz", "copy_poses.npz", "shape.npz", "broken_poses.npz"}
    assert "same file" in reasons["copy_poses.npz"] and "version" in reasons["01_01_stageii.npz"]
    assert "shape" in reasons["shape.npz"] and "broken_poses.npz" in reasons["broken_poses.npz"]


def test_ends_are_trimmed_and_frames_taken_at_the_asked_rate(amass, tmp_path):
    prepare_motion([amass], tmp_path / "out", PrepareConfig(duplicate_degrees=0, frame_rate=15))
    poses = load_poses(tmp_path / "out", "validation")
    np.testing.assert_allclose(poses.poses, walk(600, 2)[60:540:8, 3:66], atol=1e-6)


def test_an_interrupted_run_goes_on_and_ends_the_same(amass, tmp_path):
    class Stop(Exception): ...

    def stop_after_three(done, total, name):
        if done == 3:
            raise Stop

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    prepare_motion([amass], whole)
    with pytest.raises(Stop):
        prepare_motion([amass], cut, progress=stop_after_three)
    with open(cut / "train.f32", "ab") as stream:
        stream.write(b"poses written but never entered in the journal")
    with open(cut / JOURNAL, "a") as stream:
        stream.write('{"source": "cut off in the mid')
    prepare_motion([amass], cut)
    for name in ("train.f32", "validation.f32", "test.f32", JOURNAL, "manifest.json"):
        assert (whole / name).read_bytes() == (cut / name).read_bytes(), name


def test_another_configuration_does_not_mix_in(amass, tmp_path):
    prepare_motion([amass], tmp_path / "out")
    with pytest.raises(BodyfitError, match="another configuration"):
        prepare_motion([amass], tmp_path / "out", PrepareConfig(frame_rate=30))


def test_a_splits_file_of_the_input_is_followed(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for seed, name in enumerate("abc"):
        np.savez(folder / f"{name}.npz", poses=walk(50, seed, 66), mocap_frame_rate=15.0)
    (folder / "splits.json").write_text(json.dumps({"train": ["a.npz"], "test_far": ["b.npz"]}))
    manifest = prepare_motion([folder], tmp_path / "out")
    assert set(manifest["splits"]) == {"train", "test_far"}
    assert manifest["splits"]["train"]["frames_read"] == 50  # cut already, so not trimmed
    assert "splits.json" in manifest["left_out"][0]["reason"]


def test_subjects_stay_together_without_a_published_split(tmp_path):
    for subject in range(12):
        for take in range(3):
            path = tmp_path / f"lab/s{subject}/t{take}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, poses=walk(30, 10 * subject + take), mocap_frame_rate=30.0)
    prepare_motion([tmp_path / "lab"], tmp_path / "out", PrepareConfig(validation_share=0.3, test_share=0.2))
    records = [json.loads(line) for line in (tmp_path / "out" / JOURNAL).read_text().splitlines()]
    by_subject = {}
    for record in records:
        by_subject.setdefault(record["subject"], set()).add(record["split"])
    assert all(len(splits) == 1 for splits in by_subject.values())
    assert len({next(iter(splits)) for splits in by_subject.values()}) == 3


def test_resampling_interpolates_rotations():
    angles = np.linspace(0, 1, 11)
    poses = np.tile(np.stack([angles, 0 * angles, 0 * angles], 1), (1, 21))
    result = resample(poses, 25.0, 10.0)
    np.testing.assert_allclose(result[:, 0], np.arange(len(result)) * 0.25, atol=1e-9)
    assert resample(poses, 10.0, 15.0) is poses


def test_thinning_keeps_a_pose_once_any_joint_has_turned_enough():
    poses = np.zeros((10, 63))
    poses[:, 6] = np.radians(np.arange(10))
    kept = thin_out(poses, 2.5)
    np.testing.assert_allclose(np.degrees(kept[:, 6]), [0, 3, 6, 9])
    turned = Rotation.from_rotvec([0, 0, 2 * np.pi]).as_rotvec()
    assert len(thin_out(np.stack([np.zeros(63), np.tile(turned, 21)]), 1.0)) == 1


SMALL = dict(batch=16, steps_per_epoch=4, mixture_components=2, measured_poses=300, accelerator="cpu", sheet_every=2)


@pytest.fixture
def prepared(amass, tmp_path):
    prepare_motion([amass], tmp_path / "poses", PrepareConfig(duplicate_degrees=0, frame_rate=60))
    return tmp_path / "poses"


def replaced(config, **changes):
    return replace(config, **(SMALL | changes))


@pytest.mark.parametrize("recipe", [OURS, VPOSER_V2], ids=["ours", "vposer-v2"])
def test_a_run_leaves_weights_curves_sheets_and_a_card(recipe, prepared, tmp_path):
    sheets = []
    config = replaced(recipe, epochs=2)
    trained = train_prior(prepared, tmp_path / "run", config, on_sheet=lambda path, rows: sheets.append((path, rows)))
    loaded = load_prior(tmp_path / "run")
    pose = torch.zeros(3, 63)
    torch.testing.assert_close(loaded.encode(pose).mean, trained.encode(pose).mean)
    assert (tmp_path / "run/MODEL_CARD.md").read_text().startswith(f"# Pose prior {config.name}")
    assert "validation_joints_mm" in (tmp_path / "run/curves/part_0/metrics.csv").read_text()
    assert json.loads((tmp_path / "run/metrics.json").read_text())["epochs"] == 2
    assert [set(rows) for _, rows in sheets] == [{"held out", "reconstructed", "sampled"}]


def _say_it_took(checkpoint, seconds):
    document = torch.load(checkpoint, weights_only=True)
    (state,) = (state for state in document["callbacks"].values() if "figures" in state)
    assert state["seconds"] > 0
    state["seconds"] = seconds
    torch.save(document, checkpoint)


def test_a_stopped_run_goes_on_to_the_same_weights(prepared, tmp_path):
    config = replaced(OURS, epochs=3)
    whole = train_prior(prepared, tmp_path / "whole", config)

    class Stop(Exception): ...

    def stop(path, rows):
        raise Stop

    with pytest.raises(Stop):  # during the second epoch's validation: only the first is on disk
        train_prior(prepared, tmp_path / "cut", config, on_sheet=stop)
    _say_it_took(tmp_path / "cut/checkpoints/last.ckpt", 5000)
    resumed = train_prior(prepared, tmp_path / "cut", config)
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[key], value, atol=0, rtol=0, msg=key)
    assert 5000 <= json.loads((tmp_path / "cut/metrics.json").read_text())["training_seconds"] < 6000


def test_a_finished_run_writes_its_figures_again(prepared, tmp_path):
    """Cut off while the finished network is measured, the command has no epoch left to take figures from."""
    config = replaced(OURS, epochs=1)
    train_prior(prepared, tmp_path / "run", config)
    before = json.loads((tmp_path / "run/metrics.json").read_text())
    (tmp_path / "run/metrics.json").unlink()
    train_prior(prepared, tmp_path / "run", config)
    after = json.loads((tmp_path / "run/metrics.json").read_text())
    assert after["validation"] == before["validation"] and "validation_joints_mm" in after["validation"]


def test_a_run_folder_belongs_to_one_configuration(prepared, tmp_path):
    (tmp_path / "run").mkdir()
    train_prior(prepared, tmp_path / "run", replaced(OURS, epochs=1))
    with pytest.raises(BodyfitError, match="another configuration"):
        train_prior(prepared, tmp_path / "run", replaced(OURS, epochs=2))


def test_batches_depend_on_seed_epoch_and_rank_alone(prepared):
    poses, config = load_poses(prepared, "train"), replaced(OURS)

    def first(epoch, rank):
        return next(iter(Batches(poses, config, epoch, rank)))

    torch.testing.assert_close(first(1, 0), first(1, 0), atol=0, rtol=0)
    assert not torch.equal(first(1, 0), first(2, 0)) and not torch.equal(first(1, 0), first(1, 1))


def test_a_share_of_every_batch_is_synthetic_at_random_places():
    real, made = torch.zeros(100, 63), torch.ones(7, 63)
    places = [mixed(real, made, 0.3, torch.Generator().manual_seed(seed))[:, 0] == 1 for seed in (0, 1)]
    assert places[0].sum() == places[1].sum() == 30 and not torch.equal(*places)


def test_a_run_with_synthetic_poses_trains_on_them_and_says_so(prepared, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("bodyfit.prior.training.train.augmented", lambda batch, *_: seen.append(batch) or batch)
    few = {"epochs": 1, "sheet_every": 9, "synthetic_poses": 40}
    train_prior(prepared, tmp_path / "run", replaced(OURS, synthetic=0.5, **few))
    real = load_poses(prepared, "train")
    known = rot.matrices_from_axis_angle(torch.from_numpy(np.array(real.poses))).flatten(1)
    assert [(torch.cdist(batch.flatten(1), known).amin(1) < 0.05).sum() for batch in seen] == [8] * 4
    assert "50% of every batch are synthetic" in (tmp_path / "run" / "MODEL_CARD.md").read_text()
    with pytest.raises(BodyfitError, match="between 0 and 1, got 30"):
        train_prior(prepared, tmp_path / "much", replaced(OURS, synthetic=30.0))


def test_clip_balance_weighs_clips_alike(prepared):
    poses = load_poses(prepared, "train")
    totals = np.bincount(poses.clip, weights=poses.weights(1.0).numpy())
    np.testing.assert_allclose(totals, totals[0])


def test_missing_data_says_how_to_make_it(tmp_path):
    with pytest.raises(BodyfitError, match="prior prepare"):
        train_prior(tmp_path, tmp_path / "run")


def test_bvh_files_lie_among_the_rest_and_report_their_direction_error(amass, tmp_path):
    lines = ["HIERARCHY"]
    children = {"Hips": ["LeftUpLeg", "RightUpLeg", "Spine"], "Spine": ["LeftArm", "RightArm", "Head"]}
    for side in ("Left", "Right"):
        children |= {f"{side}UpLeg": [f"{side}Leg"], f"{side}Leg": [f"{side}Foot"]}
        children |= {f"{side}Arm": [f"{side}ForeArm"], f"{side}ForeArm": [f"{side}Hand"]}
    offsets = {"UpLeg": (0.1, -0.1, 0), "Leg": (0, -0.4, 0), "Foot": (0, -0.4, 0), "Arm": (0.2, 0.3, 0)}
    offsets |= {"ForeArm": (0.3, 0, 0), "Hand": (0.3, 0, 0), "Spine": (0, 0.2, 0), "Head": (0, 0.5, 0)}
    joints = 0

    def block(name):
        nonlocal joints
        joints += 1
        x, y, z = offsets.get(name.removeprefix("Left").removeprefix("Right"), (0, 0, 0))
        lines.extend([f"{'JOINT' if joints > 1 else 'ROOT'} {name}", "{"])
        lines.append(f"OFFSET {-x if name.startswith('Right') else x} {y} {z}")
        lines.append("CHANNELS 3 Zrotation Xrotation Yrotation")
        for child in children.get(name, []):
            block(child)
        lines.append("}")

    block("Hips")
    rows = 30 * np.sin(np.linspace(0, 6, 40)[:, None] + np.arange(3 * joints))
    lines += ["MOTION", "Frames: 40", "Frame Time: 0.0666667", *(" ".join(map(str, row)) for row in rows)]
    (amass / "KIT").mkdir()
    (amass / "KIT/walk.bvh").write_text("\n".join(lines))
    manifest = prepare_motion([amass], tmp_path / "out")
    assert manifest["retargeted_clips"] == 1
    assert manifest["largest_direction_error_degrees"] < 0.01


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], OURS),
        (["--recipe", "vposer-v2"], VPOSER_V2),
        (["--recipe", "vposer-v2", "--batch", str(OURS.batch)], replace(VPOSER_V2, batch=OURS.batch)),
        (["--recipe", "vposer-v2", "--mirror", "True"], replace(VPOSER_V2, mirror=True)),
        (["--mirror", "False", "--still-spread", "0"], replace(OURS, mirror=False, still_spread=0.0)),
    ],
    ids=["ours", "named", "a flag as in ours", "a switch", "switches off"],
)
def test_a_flag_that_is_given_always_counts(arguments, expected):
    assert parsed(arguments).train == expected


def parsed(arguments):
    arguments = ["poses", "-o", "run", *arguments]
    return tyro.cli(PriorTrain, args=arguments, default=PriorTrain.with_config_of(arguments))


def test_flags_count_over_another_runs_configuration(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"train": asdict(VPOSER_V2)}))
    given = ["--config", str(tmp_path / "config.json"), "--seed", "3", "--batch", str(OURS.batch)]
    assert parsed(given).train == replace(VPOSER_V2, seed=3, batch=OURS.batch)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"train": {"batsch": 3}}'])
def test_what_is_no_configuration_is_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(BodyfitError, match=r"config\.json: not the config\.json of a training run"):
        parsed(["--config", str(tmp_path / "config.json")])


@pytest.mark.parametrize("name", RECIPES)
def test_help_shows_the_values_of_the_recipe_that_is_named(capsys, name):
    with pytest.raises(SystemExit):
        main(["prior", "train", "--recipe", name, "--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "Loss per nat of KL divergence" in text
    for field in ("kl-weight", "decoder-hidden", "mirror"):
        value = getattr(RECIPES[name], field.replace("-", "_"))
        assert re.search(rf"--{field} .{{0,120}}\(default: {value}\)", text), field


def test_an_unknown_recipe_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit) as end:
        main(["prior", "train", "poses", "-o", "run", "--recipe", "vposer"])
    assert end.value.code == 2 and "vposer-v2" in capsys.readouterr().err
