"""The three encoders: VPoser v1's, VPoser v2's and ours. Each turns a batch of body poses into a diagonal Gaussian.

The layers carry the names of the original state dicts' keys, so official weights load without being renamed one by one.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, softplus

from bodyfit.prior.model.rotations import matrices_from_axis_angle

Moments = tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]


class VPoserV1Encoder(nn.Module):
    """`vposer_v1_0` of SMPLify-X: two hidden layers, LeakyReLU 0.2."""

    def __init__(self, latent_dim: int, hidden: int):
        super().__init__()
        self.bodyprior_enc_bn1 = nn.BatchNorm1d(63)
        self.bodyprior_enc_fc1 = nn.Linear(63, hidden)
        self.bodyprior_enc_bn2 = nn.BatchNorm1d(hidden)
        self.dropout = nn.Dropout(0.1)
        self.bodyprior_enc_fc2 = nn.Linear(hidden, hidden)
        self.bodyprior_enc_mu = nn.Linear(hidden, latent_dim)
        self.bodyprior_enc_logvar = nn.Linear(hidden, latent_dim)

    def forward(self, body_pose: Float[Tensor, "batch 63"]) -> Moments:
        """Mean and standard deviation (softplus, despite the layer's name)."""
        x = leaky_relu(self.bodyprior_enc_fc1(self.bodyprior_enc_bn1(body_pose)), 0.2)
        x = leaky_relu(self.bodyprior_enc_fc2(self.dropout(self.bodyprior_enc_bn2(x))), 0.2)
        return self.bodyprior_enc_mu(x), softplus(self.bodyprior_enc_logvar(x))


class _Heads(nn.Module):
    def __init__(self, latent_dim: int, hidden: int):
        super().__init__()
        self.mu = nn.Linear(hidden, latent_dim)
        self.logvar = nn.Linear(hidden, latent_dim)

    def forward(self, x: Tensor) -> Moments:
        return self.mu(x), softplus(self.logvar(x))


class VPoserV2Encoder(nn.Module):
    """`V02_05` of human_body_prior: LeakyReLU 0.01 after the first layer only, none between the next two."""

    def __init__(self, latent_dim: int, hidden: int):
        super().__init__()
        self.encoder_net = nn.Sequential(
            nn.Flatten(),
            nn.BatchNorm1d(63),
            nn.Linear(63, hidden),
            nn.LeakyReLU(0.01),
            nn.BatchNorm1d(hidden),
            nn.Dropout(0.1),
            nn.Linear(hidden, hidden),
            nn.Linear(hidden, hidden),
            _Heads(latent_dim, hidden),
        )

    def forward(self, body_pose: Float[Tensor, "batch 63"]) -> Moments:
        """Mean and standard deviation."""
        return self.encoder_net(body_pose)


class _ResidualBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + nn.functional.silu(self.linear(self.norm(x)))


class ResidualEncoder(nn.Module):
    """Ours: rotations enter as two columns of their matrices (continuous everywhere); two residual layers, no dropout.

    The encoder is not in the inner loop of a fit, so its cost matters little. LayerNorm normalises each pose by itself:
    an encoding does not depend on the batch, not even in training.
    """

    def __init__(self, latent_dim: int, hidden: int):
        super().__init__()
        self.first = nn.Linear(126, hidden)
        self.blocks = nn.Sequential(_ResidualBlock(hidden), _ResidualBlock(hidden))
        self.norm = nn.LayerNorm(hidden)
        self.heads = _Heads(latent_dim, hidden)
        # softplus as in the other two encoders; the offset starts the spread near 0.3 instead of 0.7.
        nn.init.constant_(self.heads.logvar.bias, -1.0)

    def forward(self, body_pose: Float[Tensor, "batch 63"]) -> Moments:
        """Mean and standard deviation."""
        columns = matrices_from_axis_angle(body_pose)[..., :2]
        x = nn.functional.silu(self.first(columns.flatten(-3)))
        return self.heads(self.norm(self.blocks(x)))


ENCODERS: dict[str, type[nn.Module]] = {
    "vposer-v1": VPoserV1Encoder,
    "vposer-v2": VPoserV2Encoder,
    "residual": ResidualEncoder,
}
