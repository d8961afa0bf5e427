"""Training recipes: VPoser v2's as published, and ours. A recipe is a frozen dataclass; its fields are the flags."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainConfig:
    """How to train a prior. The defaults are our recipe; `RECIPES` holds the named ones."""

    name: str = "open-2"
    """Identity written into the weights and into every fit that uses them."""
    encoder: str = "residual"
    """Encoder: `residual` (ours) or `vposer-v2`."""
    decoder_dropout: float = 0.0
    """Dropout in the decoder while training."""
    decoder_hidden: int = 256
    """Width of the decoder's two hidden layers (VPoser: 512). The cost of a fit grows with its square."""
    decoder_softness: float = 0.5
    """Width over which the kink of the decoder's LeakyReLU is rounded; 0: not rounded (VPoser)."""
    batch: int = 256
    """Poses per step."""
    steps_per_epoch: int = 250
    """Steps between validations, checkpoints and points of the curves."""
    epochs: int = 32
    """Maximum number of epochs."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    schedule: str = "cosine"
    """`cosine` (warm-up of 200 steps, then decay to zero) or `plateau` (divided by ten when validation stalls)."""
    weight_decay: float = 1e-4
    """Weight decay."""
    patience: int = 32
    """Stop after this many epochs without a better validation loss."""
    position_weight: float = 100.0
    """Loss per metre of mean joint distance."""
    rotation_weight: float = 20.0
    """Loss per radian of mean joint angle."""
    surface_weight: float = 0.0
    """Loss per metre of mean absolute difference of the coordinates of skin points (VPoser v2: 4)."""
    early_weight: float = 0.0
    """Weight of joint angles and absolute joint differences in the first `early_epochs` (VPoser v2: 2)."""
    early_epochs: int = 15
    """Number of epochs with the early terms."""
    kl_weight: float = 0.03
    """Loss per nat of KL divergence of the posterior from the unit Gaussian."""
    kl_warm_up: float = 0.2
    """Share of training over which that weight rises from zero."""
    free_bits: float = 0.0
    """Nats per latent dimension that are not penalised."""
    balance: float = 0.5
    """Balance of sampling: 0 weighs all poses equally, 1 all clips equally."""
    mirror: bool = True
    """Mirror half of the poses."""
    exchange: float = 0.3
    """Share of poses whose limbs may be exchanged with those of other poses."""
    synthetic: float = 0.0
    """Share of synthetic poses in every batch, drawn within ranges of motion (docs/training_a_prior.md)."""
    synthetic_poses: int = 100_000
    """Number of them, drawn once before training."""
    still_spread: float = 0.05
    """Random rotation, in radians, of collars and wrists that are exactly zero in the data."""
    mixture_components: int = 512
    """Gaussians of the mixture that describes the latent space after training."""
    mixture_spread: float = 1.2
    """Factor on their covariances. A larger one covers more real poses but makes samples less realistic."""
    measured_poses: int = 60_000
    """Poses from which the trained latent space and the joint ranges are measured."""
    sheet_every: int = 4
    """Epochs between sheets of reconstructions and samples."""
    seed: int = 0
    """The same seed gives the same weights on the same machine."""
    accelerator: str = "auto"
    """`auto`, `cpu`, `gpu` or another of Lightning's."""
    devices: str = "auto"
    """How many devices: `auto` or a number. With several, `batch` is the batch of each."""
    precision: str = "32-true"
    """Precision, as Lightning names it: `32-true`, `16-mixed` or `bf16-mixed`."""


OURS = TrainConfig()
# human_body_prior's V02_05: Adam 1e-3, batch 128, weight decay 1e-5, vertex L1 x 4, KL x 0.005, geodesic and joint
# terms x 2 for 15 epochs, plateau schedule, early stopping. Poses are drawn uniformly, without
# augmentation; an epoch is one pass over the open collection, and the released weights are those of epoch 13.
VPOSER_V2 = TrainConfig(
    name="vposer-v2",
    encoder="vposer-v2",
    decoder_dropout=0.1,
    decoder_hidden=512,
    decoder_softness=0.0,
    batch=128,
    steps_per_epoch=477,
    epochs=14,
    schedule="plateau",
    weight_decay=1e-5,
    patience=5,
    position_weight=0.0,
    rotation_weight=0.0,
    surface_weight=4.0,
    early_weight=2.0,
    kl_weight=0.005,
    kl_warm_up=0.0,
    balance=0.0,
    mirror=False,
    exchange=0.0,
    still_spread=0.0,
    mixture_components=1,
    mixture_spread=1.0,
)
RECIPES: dict[str, TrainConfig] = {"open": OURS, "vposer-v2": VPOSER_V2}
