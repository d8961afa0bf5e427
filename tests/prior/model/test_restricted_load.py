"""Tensors of checkpoints come out as PyTorch wrote them; crafted checkpoints take neither memory nor time."""

import collections
import zipfile

import pytest
import torch

from bodyfit.data.errors import BodyfitError
from bodyfit.prior.model.checkpoint import PriorError, load_prior, save_prior
from bodyfit.prior.model.restricted_load import stored_tensors
from bodyfit.prior.model.vposer import VPoser, VPoserConfig


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_tensors_of_all_kinds_come_out_as_they_were(zipped, tmp_path):
    wide = torch.arange(24.0).reshape(4, 6)
    tensors = {
        **{str(dtype): torch.tensor([0, 1, 2]).to(dtype) for dtype in (torch.float16, torch.bfloat16, torch.float64)},
        **{str(dtype): torch.tensor([0, 1, 2]).to(dtype) for dtype in (torch.int8, torch.uint8, torch.int64)},
        **{"bool": torch.tensor([True, False]), "number": torch.tensor(3.0), "empty": torch.zeros(0, 5)},
        **{"view": wide[1:3, 2:], "turned": wide.T, "parameter": torch.nn.Parameter(wide)},
    }
    state = collections.OrderedDict(tensors, word="left out", sparse=torch.eye(3).to_sparse())
    torch.save({"state_dict": state, "other": torch.ones(5)}, tmp_path / "x", _use_new_zipfile_serialization=zipped)
    stored = stored_tensors(tmp_path / "x")
    assert stored.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert stored[name].shape == tensor.shape
        torch.testing.assert_close(stored[name].read(), tensor.detach(), rtol=0, atol=0)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_tensor_larger_than_its_file_is_refused(zipped, tmp_path):
    expanded = {"decoder_net.0.weight": torch.zeros(1).expand(4096, 4096)}
    torch.save(expanded, tmp_path / "x.ckpt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(PriorError, match=r"x\.ckpt: .*shape \(4096, 4096\) on 1 numbers"):
        load_prior(tmp_path / "x.ckpt")


def test_compressed_archives_are_refused(tmp_path):
    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "x.pt")
    with (
        zipfile.ZipFile(tmp_path / "x.pt") as old,
        zipfile.ZipFile(tmp_path / "y.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(BodyfitError, match="compressed"):
        stored_tensors(tmp_path / "y.pt")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_damage_anywhere_is_one_clear_error(zipped, tmp_path):
    torch.save({"a": torch.rand(40)}, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "x.pt").read_bytes()
    for place in range(0, len(whole), 7):
        flipped = whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]
        for content in (whole[:place], flipped):
            (tmp_path / "y.pt").write_bytes(content)
            with pytest.raises(PriorError, match=r"y\.pt"):
                load_prior(tmp_path / "y.pt")


def test_widths_beyond_the_weights_take_no_memory(tmp_path):
    save_prior(VPoser(VPoserConfig(encoder_hidden=16, decoder_hidden=16)), tmp_path / "small.safetensors")
    config = tmp_path / "small.json"
    config.write_text(config.read_text().replace('"decoder_hidden": 16', '"decoder_hidden": 4096'))
    with pytest.raises(PriorError, match="expected"):
        load_prior(tmp_path)


@pytest.mark.parametrize("damage", ["mixture_covariances", "mixture_weights", "residual_scale"])
def test_densities_that_are_none_are_refused(damage, tmp_path):
    prior = VPoser(VPoserConfig(encoder_hidden=16, decoder_hidden=16))
    getattr(prior, damage).mul_(-1)
    save_prior(prior, tmp_path / "small.safetensors")
    with pytest.raises(PriorError, match="density"):
        load_prior(tmp_path)
