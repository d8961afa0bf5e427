"""VPoser: a variational autoencoder over body poses (Pavlakos et al., CVPR 2019, section 3.3).

    prior = load_prior()
    latent = prior.encode(body_pose).mean            # (..., 63) axis-angle -> (..., 32)
    rotations = prior.decode(latent)                 # (..., 32) -> (..., 21, 3, 3)
    poses = prior.decode_axis_angle(prior.sample(8)) # eight new poses

Everything works on any batch shape and is differentiable. Poses and latents may be NumPy arrays, too, and of any
precision; answers are in the precision and on the device of the weights: `prior.double()` for float64.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from bodyfit.prior.model import rotations as rot
from bodyfit.prior.model.decoder_tangent import activation
from bodyfit.prior.model.descent import descend
from bodyfit.prior.model.encoders import ENCODERS
from bodyfit.prior.model.mixture import GaussianMixture
from bodyfit.prior.model.parts import NUM_BODY_JOINTS

# Weights in `score`: of the joints besides the least plausible one, and of the reconstruction error, which is capped
# at this many squared standard deviations per joint.
_OTHERS_WEIGHT, _MISSED_WEIGHT, _MISSED_MOST = 0.1, 0.05, 60.0


@dataclass(frozen=True)
class VPoserConfig:
    """Architecture of the network, needed before its weights can be read."""

    encoder: str = "residual"
    """Which encoder: `residual` (ours), `vposer-v2` or `vposer-v1`."""
    latent_dim: int = 32
    """Width of the latent space."""
    encoder_hidden: int = 512
    """Width of the encoder's hidden layers."""
    decoder_hidden: int = 512
    """Width of the decoder's two hidden layers. The cost of a fit grows with its square."""
    negative_slope: float = 0.01
    """LeakyReLU slope of the decoder: 0.01 in VPoser v2 and ours, 0.2 in v1."""
    decoder_dropout: float = 0.0
    """Dropout after the decoder's first layer while training: 0.1 in VPoser, 0 in ours."""
    mixture_components: int = 1
    """Gaussians that describe where in the latent space real poses lie."""
    range_components: int = 0
    """Gaussians that describe the range of rotation per joint; 0 where it was not measured (official weights)."""
    decoder_softness: float = 0.0
    """Width over which the kink of the decoder's LeakyReLU is rounded, in units of its input; 0: not rounded, as in
    VPoser. With a width the decoder is smooth, which suits a second-order solver."""


class SoftLeakyReLU(nn.LeakyReLU):
    """LeakyReLU whose kink is rounded over a width: see `decoder_tangent.activation`, which fits use too."""

    def __init__(self, negative_slope: float, softness: float):
        super().__init__(negative_slope)
        self.softness = softness

    def forward(self, hidden: Tensor) -> Tensor:
        """The activation, elementwise."""
        return activation(hidden, self.negative_slope, self.softness) if self.softness else super().forward(hidden)


class VPoser(nn.Module):
    """Encoder, decoder and the density of the latent space. Make one with `load_prior`."""

    def __init__(self, config: VPoserConfig | None = None, *, name: str = "untrained"):
        super().__init__()
        config = config or VPoserConfig()
        if config.encoder not in ENCODERS:
            raise ValueError(f"encoder must be one of {', '.join(ENCODERS)}, got {config.encoder!r}")
        self.config, self.name, self.latent_dim = config, name, config.latent_dim
        self.path: Path | None = None  # the file of the weights, where `load_prior` read them from one
        self._mixture: tuple[list, GaussianMixture] | None = None  # made from buffers with these ids and versions
        self.encoder = ENCODERS[config.encoder](config.latent_dim, config.encoder_hidden)
        self.decoder = nn.Sequential(
            nn.Linear(config.latent_dim, config.decoder_hidden),
            SoftLeakyReLU(config.negative_slope, config.decoder_softness),
            nn.Dropout(config.decoder_dropout),
            nn.Linear(config.decoder_hidden, config.decoder_hidden),
            SoftLeakyReLU(config.negative_slope, config.decoder_softness),
            nn.Linear(config.decoder_hidden, NUM_BODY_JOINTS * 6),
        )
        _start_at_rest(self.decoder[-1])
        z, k = config.latent_dim, config.mixture_components
        # The aggregate posterior: the distribution of encoded real poses. A unit Gaussian until measured.
        self.register_buffer("latent_mean", torch.zeros(z))
        self.register_buffer("latent_covariance", _identities(z, z))
        self.register_buffer("mixture_weights", torch.full((k,), 1 / k))
        self.register_buffer("mixture_means", torch.zeros(k, z))
        self.register_buffer("mixture_covariances", _identities(k, z, z))
        # Standard deviation (radians, per axis) of the reconstruction error per joint: the scale of the likelihood.
        self.register_buffer("residual_scale", torch.full((NUM_BODY_JOINTS,), 0.1))
        if r := config.range_components:
            # Range of rotation per joint: a mixture over two columns of its matrix, and its usual negative log density.
            self.register_buffer("range_weights", torch.full((NUM_BODY_JOINTS, r), 1 / r))
            self.register_buffer("range_means", torch.zeros(NUM_BODY_JOINTS, r, 6))
            self.register_buffer("range_covariances", _identities(NUM_BODY_JOINTS, r, 6, 6))
            self.register_buffer("range_usual", torch.zeros(NUM_BODY_JOINTS))

    def decoder_layers(self) -> list[tuple[Tensor, Tensor, float | None]]:
        """The decoder as a chain of (weight (out, in), bias (out,), slope of the LeakyReLU that follows or None).

        Its output of 126 numbers is laid out (21, 3, 2): two columns per joint, to be orthonormalised by Gram-Schmidt.
        Each LeakyReLU is rounded over `config.decoder_softness`, which `decoder_tangent` takes besides the layers.
        """
        modules = [m for m in self.decoder if not isinstance(m, nn.Dropout)]
        following = [*modules[1:], None]
        return [
            (m.weight, m.bias, after.negative_slope if isinstance(after, nn.LeakyReLU) else None)
            for m, after in zip(modules, following, strict=True)
            if isinstance(m, nn.Linear)
        ]

    @property
    def mixture(self) -> GaussianMixture:
        """The density of the latent space that `sample` and `log_prob` use; rebuilt only when its buffers change."""
        buffers = (self.mixture_weights, self.mixture_means, self.mixture_covariances)
        stamp = [(id(b), None if b.is_inference() else b._version) for b in buffers]
        if self._mixture is None or self._mixture[0] != stamp:
            # The mixture keeps the buffers alive, so that their ids are not reused.
            self._mixture = stamp, GaussianMixture(*buffers)
        return self._mixture[1]

    def _of_weights(self, values: Float[Tensor | np.ndarray, "*batch n"]) -> Float[Tensor, "*batch n"]:
        """As a tensor in the precision and on the device of the weights."""
        return (values if isinstance(values, Tensor) else torch.as_tensor(values)).to(self.residual_scale)

    def _latent(self, latent: Float[Tensor | np.ndarray, "*batch Z"]) -> Float[Tensor, "*batch Z"]:
        latent = self._of_weights(latent)
        if latent.shape[-1:] != (self.latent_dim,):
            raise ValueError(
                f"latent must have {self.latent_dim} numbers in its last dimension, got shape {tuple(latent.shape)}"
            )
        return latent

    def encode(self, body_pose: Float[Tensor | np.ndarray, "*batch width"]) -> torch.distributions.Normal:
        """Posterior over latents (..., 32) of axis-angle poses: 63 numbers (SMPL-X, SMPL-H) or 69 (SMPL)."""
        pose = rot.body_joints_of(self._of_weights(body_pose))
        mean, spread = self.encoder(pose.reshape(-1, pose.shape[-1]))
        shape = (*pose.shape[:-1], self.latent_dim)
        return torch.distributions.Normal(mean.reshape(shape), spread.reshape(shape), validate_args=False)

    def decode_6d(self, latent: Float[Tensor | np.ndarray, "*batch Z"]) -> Float[Tensor, "*batch 21 3 2"]:
        """The decoder's raw output, two columns per joint, not yet orthonormal."""
        return self.decoder(self._latent(latent)).unflatten(-1, (NUM_BODY_JOINTS, 3, 2))

    def decode(self, latent: Float[Tensor | np.ndarray, "*batch Z"]) -> Float[Tensor, "*batch 21 3 3"]:
        """Rotation matrices of the 21 body joints."""
        return rot.matrices_from_6d(self.decode_6d(latent))

    def decode_axis_angle(
        self, latent: Float[Tensor | np.ndarray, "*batch Z"], *, joints: int = 21
    ) -> Float[Tensor, "*batch width"]:
        """Axis-angle body pose in radians: 63 numbers, or 69 with joints=23 for SMPL (its two hand joints at rest)."""
        if joints not in rot.AXIS_ANGLE_WIDTHS:
            raise ValueError(f"joints must be 21 (SMPL-X, SMPL-H) or 23 (SMPL), got {joints}")
        pose = rot.axis_angle_from_matrices(self.decode(latent))
        return nn.functional.pad(pose, (0, rot.AXIS_ANGLE_WIDTHS[joints] - pose.shape[-1]))

    def sample(self, count: int, generator: torch.Generator | None = None) -> Float[Tensor, "count Z"]:
        """Latents of new poses, drawn from the mixture (a unit Gaussian for official weights).

        Raises ValueError for a count below 1.
        """
        if not isinstance(count, int | np.integer) or count < 1:
            raise ValueError(f"count is {count!r}. Expected the number of latents, at least 1.")
        return self.mixture.sample(count, generator)

    def latent_log_prob(self, latent: Float[Tensor | np.ndarray, "*batch Z"]) -> Float[Tensor, "*batch"]:
        """Log density of latents under the mixture, nats."""
        return self.mixture.log_prob(self._latent(latent))

    def log_prob(self, body_pose: Float[Tensor | np.ndarray, "*batch width"]) -> Float[Tensor, "*batch"]:
        """Score of poses in nats, higher is more plausible: log p(z) + log p(pose | z) at the posterior's mean z.

        The second part is a Gaussian in the angle between pose and reconstruction, per joint, with the spread seen on
        held-out poses. The sum is not a normalised density: it compares poses, not models.
        """
        pose = rot.body_joints_of(self._of_weights(body_pose))
        latent = self.encode(pose).mean
        angles = rot.rotation_angles(self.decode(latent), rot.matrices_from_axis_angle(pose))
        normaliser = 3 * (self.residual_scale.log() + 0.5 * math.log(2 * math.pi))
        likelihood = (-0.5 * (angles / self.residual_scale).square() - normaliser).sum(-1)
        return self.latent_log_prob(latent) + likelihood

    def range_surprise(self, rotations: Float[Tensor, "*batch 21 3 3"]) -> Float[Tensor, "*batch 21"]:
        """Negative log density of each joint's rotation under its measured distribution, nats."""
        columns = rotations[..., :2].flatten(-2)
        mixtures = zip(self.range_weights, self.range_means, self.range_covariances, strict=True)
        surprises = [-GaussianMixture(*m).log_prob(columns[..., j, :]) for j, m in enumerate(mixtures)]
        return torch.stack(surprises, dim=-1)

    def score(self, body_pose: Float[Tensor | np.ndarray, "*batch width"]) -> Float[Tensor, "*batch"]:
        """Plausibility of a pose, in nats relative to a usual pose; higher is more plausible.

        A joint is implausible when its rotation is outside the measured range, or when the decoder cannot reconstruct
        it given the rest of the pose. The least plausible joint counts most; `log_prob` sums over all joints, so that
        twenty usual ones can outweigh a broken knee. The weights were chosen on validation poses. Official weights
        come without measured ranges: for them only the reconstruction counts.
        """
        pose = rot.body_joints_of(self._of_weights(body_pose))
        rotations = rot.matrices_from_axis_angle(pose)
        missed = rot.rotation_angles(self.decode(self.encode(pose).mean), rotations) / self.residual_scale
        score = -_MISSED_WEIGHT * missed.square().clamp(max=_MISSED_MOST).sum(-1)
        if self.config.range_components:
            surprise = self.range_surprise(rotations) - self.range_usual
            score = score - surprise.amax(-1) - _OTHERS_WEIGHT * surprise.sum(-1)
        return score

    def project(
        self, body_pose: Float[Tensor | np.ndarray, "*batch width"], *, steps: int = 80
    ) -> Float[Tensor, "*batch 63"]:
        """The most probable pose near a given one, axis-angle: a valid pose stays, an impossible one is corrected.

        steps: of gradient descent in the latent space after encoding; 0 gives the reconstruction (differentiable).
        """
        pose = rot.body_joints_of(self._of_weights(body_pose))
        latent = self.encode(pose).mean
        if steps:
            target, mixture = rot.matrices_from_axis_angle(pose.detach()), self.mixture

            def energy(z: Tensor) -> Tensor:
                missed = rot.rotation_angles(self.decode(z), target) / self.residual_scale
                return 0.5 * missed.square().sum(-1) - mixture.log_prob(z)

            latent = descend(energy, latent, steps=steps)
        return self.decode_axis_angle(latent)

    def interpolate(
        self,
        start: Float[Tensor | np.ndarray, "*batch width"],
        end: Float[Tensor | np.ndarray, "*batch width"],
        steps: int,
    ) -> Float[Tensor, "steps *batch 63"]:
        """Poses from start to end along the straight line between their latents; the first and last are decoded too."""
        a, b = self.encode(start).mean, self.encode(end).mean
        share = torch.linspace(0, 1, steps, dtype=a.dtype, device=a.device).reshape(-1, *[1] * a.dim())
        return self.decode_axis_angle(a + share * (b - a))


def _identities(*shape: int) -> Float[Tensor, "*batch size size"]:
    """Identity matrices; without numbers on the meta device, where `torch.eye` imports PyTorch's compiler (1.5 s)."""
    zeros = torch.zeros(shape)
    return zeros if zeros.is_meta else zeros + torch.eye(shape[-1])


@torch.no_grad()
def _start_at_rest(last: nn.Linear) -> None:
    """Initialise the decoder so that it gives nearly the rest pose.

    With random initial rotations some joints start half a turn off, where the gradient of the angle vanishes, and stay.
    """
    last.weight.mul_(0.1)
    last.bias.copy_(_identities(NUM_BODY_JOINTS, 3, 3)[..., :2].flatten())
