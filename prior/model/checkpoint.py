"""Reading and writing priors: ours (safetensors + JSON), VPoser v1 and VPoser v2 as released. Nothing is executed.

The two VPosers' decoders have the same shapes and different slopes, so either loads with the other's code and is
silently wrong. They are told apart by the names of their weights.
"""

import json
import math
from dataclasses import asdict, fields
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import check_file, read_json, write_atomically
from bodyfit.prior.model.restricted_load import StoredTensor, stored_tensors
from bodyfit.prior.model.vposer import VPoser, VPoserConfig

FORMAT = "bodyfit-prior"
FORMAT_VERSION = 1
SHIPPED = "vposer_open.safetensors"
START_NETWORK = "start.safetensors"
"""Name of the start network's file that may lie beside a prior's."""
_MAX_WIDTH = 4096


class PriorError(BodyfitError):
    """A prior that cannot be read."""


def load_prior(path: str | Path | None = None) -> VPoser:
    """A pose prior in evaluation mode, float32, on the CPU; its `path` is the file that the weights came from.

    path: None for the one that ships with bodyfit; a .safetensors of ours (its .json beside it); a folder with one;
    VPoser v2 (`V02_05` folder or its .ckpt); VPoser v1 (`vposer_v1_0` folder or its .pt).
    Raises PriorError, saying what was found and what was expected.
    """
    path = Path(str(files("bodyfit.data") / "assets" / "prior" / SHIPPED)) if path is None else Path(path)
    weights = _find_weights(path)
    prior = _load_ours(weights) if weights.suffix == ".safetensors" else _load_official(weights)
    prior.path = weights
    return prior.eval().requires_grad_(False)


def _find_weights(path: Path) -> Path:
    if path.is_file():
        if path.suffix not in (".safetensors", ".ckpt", ".pt", ".pth"):
            raise PriorError(f"{path}: a prior is a .safetensors, .ckpt or .pt file, or the folder of one")
        return path
    if not path.is_dir():
        raise PriorError(f"{path}: no such file or folder. Give a .safetensors, V02_05/ or vposer_v1_0/")
    for pattern in ("*.safetensors", "weights/*.safetensors", "snapshots/*.ckpt", "snapshots/*.pt", "*.ckpt", "*.pt"):
        # VPoser keeps one snapshot an epoch; the last by name is the best, as its own loader has it.
        if found := [file for file in sorted(path.glob(pattern)) if _may_be_prior(file)]:
            return found[-1]
    listing = ", ".join(sorted(p.name for p in path.iterdir())[:8]) or "nothing"
    raise PriorError(
        f"{path}: no prior in this folder. Found {listing}; expected a .safetensors, or snapshots/*.ckpt (VPoser v2) "
        "or snapshots/*.pt (VPoser v1). An archive from the VPoser site must be unpacked first"
    )


def _may_be_prior(file: Path) -> bool:
    """False for other networks' weights in the same folder, such as the start network's."""
    if file.name == START_NETWORK:
        return False
    if file.suffix != ".safetensors" or not file.with_suffix(".json").is_file():
        return True
    try:
        document = read_json(file.with_suffix(".json"), PriorError)
    except PriorError:
        return True
    return not isinstance(document, dict) or document.get("format") == FORMAT


def _load_ours(weights: Path) -> VPoser:
    config_file = weights.with_suffix(".json")
    if not config_file.is_file():
        raise PriorError(f"{weights}: its configuration {config_file.name} must lie beside it and does not")
    document = read_json(config_file, PriorError)
    if not isinstance(document, dict) or document.get("format") != FORMAT or document.get("version") != FORMAT_VERSION:
        raise PriorError(f'{config_file}: expected "format": "{FORMAT}" and "version": {FORMAT_VERSION}')
    config = _config_from(document.get("architecture"), config_file)
    return _build(config, f"{document.get('name', weights.stem)!s:.200}", _safetensors(weights), weights)


def _safetensors(path: Path) -> dict[str, StoredTensor]:
    from safetensors import SafetensorError, safe_open

    check_file(path, PriorError)

    def read(key: str) -> Tensor:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor(key)

    try:
        with safe_open(path, framework="pt") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise PriorError(f"{path}: not readable as safetensors ({error!s:.200})") from None
    return {key: StoredTensor(shape, lambda key=key: read(key)) for key, shape in shapes.items()}


def _config_from(architecture: object, source: Path) -> VPoserConfig:
    known = {field.name: type(field.default) for field in fields(VPoserConfig)}
    if not isinstance(architecture, dict) or not set(architecture) <= set(known):
        raise PriorError(f'{source}: "architecture" must be an object with keys among {", ".join(known)}')
    for key, value in architecture.items():
        allowed = (int, float) if known[key] is float else known[key]
        if not isinstance(value, allowed) or isinstance(value, bool):
            raise PriorError(f'{source}: "architecture.{key}" must be a {known[key].__name__}, found {value!r:.100}')
        least = 0 if key == "range_components" else 1
        if known[key] is int and not least <= value <= _MAX_WIDTH:
            raise PriorError(f'{source}: "architecture.{key}" must be between {least} and {_MAX_WIDTH}, found {value}')
        if key == "decoder_softness" and not (math.isfinite(value) and value >= 0):
            raise PriorError(f'{source}: "architecture.decoder_softness" must be 0 or a width, found {value!r:.100}')
    try:
        return VPoserConfig(**architecture)
    except TypeError as error:
        raise PriorError(f"{source}: {error}") from None


def _build(
    config: VPoserConfig, name: str, state: dict[str, StoredTensor], source: Path, *, decoder_only: bool = False
) -> VPoser:
    """The prior of a file. Shapes are compared before memory is taken, neither for the file's numbers nor for ours.

    decoder_only: the file has an encoder and a decoder, as the official ones; what else we keep is left as it is made.
    """
    try:
        with torch.device("meta"):  # shapes alone
            expected = {key: tuple(value.shape) for key, value in VPoser(config).state_dict().items()}
    except (ValueError, RuntimeError, OverflowError) as error:
        raise PriorError(f"{source}: {error!s:.200}") from None
    if decoder_only:
        expected = {key: shape for key, shape in expected.items() if key.startswith(("encoder.", "decoder."))}
    missing, extra = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
    if missing or extra:
        raise PriorError(
            f"{source}: weights do not fit. Missing: {missing[:4] or 'none'}; unknown: {extra[:4] or 'none'}"
        )
    for key, shape in expected.items():
        if state[key].shape != shape:
            raise PriorError(f"{source}: {key} is {state[key].shape}, expected {shape}")
    prior = VPoser(config, name=name)
    own = prior.state_dict()
    prior.load_state_dict(own | {key: _numbers(state[key], key, own[key].dtype, source) for key in expected})
    _check_densities(prior, source)
    return prior


def _numbers(stored: StoredTensor, key: str, dtype: torch.dtype, source: Path) -> Tensor:
    try:
        tensor = stored.read()
    except Exception as error:  # a damaged archive can fail in any way
        raise PriorError(f"{source}: {key} cannot be read ({error!s:.200}). Get the file again") from None
    if tensor.is_complex() or not torch.isfinite(tensor.to(dtype)).all():
        raise PriorError(f"{source}: {key} holds numbers that are not finite. Get the file again")
    return tensor.to(dtype)


def _check_densities(prior: VPoser, source: Path) -> None:
    """Refuse weights that no training gives: a mixture without a density, spreads that are not above zero."""
    try:
        usable = bool(torch.isfinite(prior.latent_log_prob(prior.latent_mean)).all())
    except (RuntimeError, ValueError):  # covariances that are not positive definite
        usable = False
    if not usable or not (prior.residual_scale > 0).all():
        raise PriorError(f"{source}: its mixture, or the spread of its residuals, is no density. Get the file again")


_V1_DECODER = {"decoder.0": "bodyprior_dec_fc1", "decoder.3": "bodyprior_dec_fc2", "decoder.5": "bodyprior_dec_out"}
_V2_DECODER = {"decoder.0": "decoder_net.0", "decoder.3": "decoder_net.3", "decoder.5": "decoder_net.5"}


def _load_official(weights: Path) -> VPoser:
    try:
        state = stored_tensors(weights)
    except BodyfitError as error:
        raise PriorError(str(error)) from error
    state = {key.removeprefix("module.").removeprefix("vp_model."): value for key, value in state.items()}
    if any(key.startswith("decoder_net.") for key in state):
        kind, slope, encoder, decoder = "vposer-v2", 0.01, "encoder_net.", _V2_DECODER
    elif any(key.startswith("bodyprior_dec_") for key in state):
        kind, slope, encoder, decoder = "vposer-v1", 0.2, "bodyprior_enc_", _V1_DECODER
    else:
        keys = ", ".join(sorted(state)[:6]) or "none"
        raise PriorError(
            f"{weights}: neither VPoser v1 (keys bodyprior_enc_bn1.weight, ...) nor v2 (encoder_net.1.weight, ...). "
            f"Its tensors are: {keys}"
        )
    ours = {f"encoder.{key}": value for key, value in state.items() if key.startswith(encoder)}
    for new, old in decoder.items():
        ours |= {f"{new}.{part}": state[f"{old}.{part}"] for part in ("weight", "bias") if f"{old}.{part}" in state}
    first = ours.get("decoder.0.weight")
    if first is None or len(first.shape) != 2 or not 0 < min(first.shape) <= max(first.shape) <= _MAX_WIDTH:
        raise PriorError(f"{weights}: {decoder['decoder.0']}.weight is missing or not a matrix")
    hidden, latent_dim = first.shape
    config = VPoserConfig(kind, latent_dim, hidden, hidden, slope, 0.1)
    return _build(config, f"{kind} {weights.stem}", ours, weights, decoder_only=True)


def save_prior(prior: VPoser, weights: str | Path, **facts: object) -> None:
    """Write weights (.safetensors) and, beside them, the .json with the architecture and whatever facts are given."""
    from safetensors.torch import save

    weights = Path(weights).with_suffix(".safetensors")
    weights.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "name": prior.name,
        "architecture": asdict(prior.config),
        **facts,
    }
    state = {key: value.detach().cpu().contiguous() for key, value in prior.state_dict().items()}
    write_atomically(weights, lambda path: path.write_bytes(save(state)))
    write_atomically(weights.with_suffix(".json"), lambda path: path.write_text(json.dumps(document, indent=2) + "\n"))
