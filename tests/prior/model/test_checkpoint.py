"""Official checkpoints load by their keys, give the original networks' numbers, and run nothing."""

import importlib.util
import json
import pickle
from pathlib import Path

import pytest
import torch

from bodyfit.prior.model.checkpoint import PriorError, load_prior, save_prior
from bodyfit.prior.model.vposer import VPoser, VPoserConfig

_spec = importlib.util.spec_from_file_location("original_vposer", Path(__file__).with_name("original_vposer.py"))
original = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(original)


class CallbackOfALibraryNobodyHas:
    """Pickled by reference to this test module, so loading it honestly would import and call it."""

    def __reduce__(self):
        return _detonate, ("loaded",)


def _detonate(word):
    _detonate.fired = word
    return word


@pytest.fixture
def v1_folder(tmp_path):
    """As SMPLify-X's download: vposer_v1_0/snapshots/*.pt and an .ini; keys behind `module.` from DataParallel."""
    folder = tmp_path / "vposer_v1_0"
    (folder / "snapshots").mkdir(parents=True)
    (folder / "TR00_004_00_WO_accad.ini").write_text("[All]\n")
    state = {f"module.{key}": value for key, value in original.v1_state().items()}
    torch.save(state, folder / "snapshots" / "TR00_E096.pt", _use_new_zipfile_serialization=False)
    return folder


@pytest.fixture
def v2_folder(tmp_path):
    """As human_body_prior's download: V02_05/snapshots/*.ckpt with Lightning's metadata, among it foreign objects."""
    folder = tmp_path / "V02_05"
    (folder / "snapshots").mkdir(parents=True)
    (folder / "V02_05.yaml").write_text("train_parms: {}\n")
    state = {f"vp_model.{key}": value for key, value in original.v2_state().items()}
    state["bm_train.init_pose_hand"] = torch.zeros(1, 90)
    checkpoint = {"epoch": 13, "state_dict": state, "callbacks": {"x": CallbackOfALibraryNobodyHas()}}
    torch.save(checkpoint, folder / "snapshots" / "V02_05_epoch=13_val_loss=0.03.ckpt")
    return folder


CASES = [
    ("v1_folder", original.v1_state, original.v1_encode, original.v1_decode),
    ("v2_folder", original.v2_state, original.v2_encode, original.v2_decode),
]


@pytest.mark.parametrize(("folder", "state", "encode", "decode"), CASES, ids=["v1", "v2"])
def test_official_weights_give_the_original_numbers(folder, state, encode, decode, request):
    prior = load_prior(request.getfixturevalue(folder)).double()
    weights = {key: value.double() for key, value in state().items()}
    generator = torch.Generator().manual_seed(3)
    pose = torch.randn(6, 63, generator=generator, dtype=torch.float64)
    latent = torch.randn(6, 32, generator=generator, dtype=torch.float64)
    posterior = prior.encode(pose)
    mean, spread = encode(pose, weights)
    torch.testing.assert_close(posterior.mean, mean)
    torch.testing.assert_close(posterior.stddev, spread)
    torch.testing.assert_close(prior.decode(latent), decode(latent, weights))


@pytest.mark.parametrize(("folder", "slope"), [("v1_folder", 0.2), ("v2_folder", 0.01)])
def test_the_slope_handed_to_the_solver_is_the_versions_own(folder, slope, request):
    prior = load_prior(request.getfixturevalue(folder))
    assert [layer[2] for layer in prior.decoder_layers()] == [slope, slope, None]


def test_the_wrong_slope_would_be_noticed():
    latent = torch.randn(4, 32, dtype=torch.float64)
    state = {key: value.double() for key, value in original.v1_state().items()}
    renamed = {
        key.replace("bodyprior_dec_fc1", "decoder_net.0")
        .replace("bodyprior_dec_fc2", "decoder_net.3")
        .replace("bodyprior_dec_out", "decoder_net.5"): value
        for key, value in state.items()
    }
    difference = (original.v1_decode(latent, state) - original.v2_decode(latent, renamed)).abs().max()
    assert difference > 0.05


def test_loading_runs_nothing(v2_folder):
    checkpoint = next((v2_folder / "snapshots").iterdir())
    load_prior(checkpoint)
    assert not hasattr(_detonate, "fired")


def test_batch_norm_uses_its_running_statistics(v2_folder):
    prior = load_prior(v2_folder)
    poses = torch.randn(5, 63)
    torch.testing.assert_close(prior.encode(poses).mean[:1], prior.encode(poses[:1]).mean, atol=1e-5, rtol=1e-5)


def test_a_pickle_that_is_no_checkpoint_is_refused(tmp_path):
    file = tmp_path / "bad.ckpt"
    file.write_bytes(pickle.dumps(CallbackOfALibraryNobodyHas()))
    with pytest.raises(ValueError, match=r"bad\.ckpt"):
        load_prior(file)
    assert not hasattr(_detonate, "fired")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state: state.pop("decoder_net.3.bias"), "decoder"),
        (lambda state: state.update({"decoder_net.5.weight": torch.zeros(63, 512)}), "expected"),
        (lambda state: state["decoder_net.0.weight"].fill_(float("nan")), "not finite"),
        (lambda state: [state.pop(key) for key in list(state)], "neither VPoser v1"),
    ],
    ids=["missing key", "wrong shape", "NaN", "other program"],
)
def test_damaged_checkpoints_are_named(damage, message, tmp_path):
    state = original.v2_state()
    damage(state)
    torch.save(state, tmp_path / "weights.ckpt")
    with pytest.raises(PriorError, match=message):
        load_prior(tmp_path / "weights.ckpt")


def test_missing_and_empty_folders_say_what_was_expected(tmp_path):
    with pytest.raises(PriorError, match="no such file"):
        load_prior(tmp_path / "nowhere")
    with pytest.raises(PriorError, match="snapshots"):
        load_prior(tmp_path)


def test_ours_round_trips(tmp_path):
    config = VPoserConfig(encoder_hidden=16, decoder_hidden=16, mixture_components=3, decoder_softness=0.5)
    prior = VPoser(config, name="small")
    save_prior(prior, tmp_path / "small.safetensors", licence="Apache-2.0")
    loaded = load_prior(tmp_path)
    assert loaded.name == "small" and loaded.config == prior.config
    for key, value in prior.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], value, rtol=0, atol=0)


def test_other_networks_beside_the_prior_are_passed_over(tmp_path):
    save_prior(VPoser(VPoserConfig(encoder_hidden=16, decoder_hidden=16), name="small"), tmp_path / "prior.safetensors")
    (tmp_path / "start.safetensors").touch()
    (tmp_path / "start.json").write_text('{"network": {}}')
    assert load_prior(tmp_path).name == "small"


def _saved_with(tmp_path, change) -> Path:
    """A small prior whose file's architecture was changed."""
    save_prior(VPoser(VPoserConfig(encoder_hidden=16, decoder_hidden=16)), tmp_path / "small.safetensors")
    document = json.loads((tmp_path / "small.json").read_text())
    change(document["architecture"])
    (tmp_path / "small.json").write_text(json.dumps(document))
    return tmp_path


def test_a_file_from_before_smooth_decoders_has_the_plain_kink(tmp_path):
    prior = load_prior(_saved_with(tmp_path, lambda architecture: architecture.pop("decoder_softness")))
    assert prior.config.decoder_softness == 0
    hidden = torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(prior.decoder[1](hidden), torch.tensor([-0.01, 1.0]), rtol=0, atol=0)


@pytest.mark.parametrize("softness", [-0.1, float("nan"), "wide"])
def test_a_softness_that_is_no_width_is_refused(softness, tmp_path):
    folder = _saved_with(tmp_path, lambda architecture: architecture.update(decoder_softness=softness))
    with pytest.raises(PriorError, match="decoder_softness"):
        load_prior(folder)


def test_a_configuration_that_asks_for_too_much_is_refused(tmp_path):
    folder = _saved_with(tmp_path, lambda architecture: architecture.update(decoder_hidden=10**9))
    with pytest.raises(PriorError, match="decoder_hidden"):
        load_prior(folder)
