"""Training: a Lightning module around VPoser, and `train_prior`, from prepared poses to a finished folder.

RUN/ holds the whole configuration, checkpoints of the last and best epoch, curves as CSV, sheets, and at the end the
weights, their configuration, metrics and model card. The same command resumes an interrupted run; batches and
noise depend only on the seed and the step, so the result is that of a run without interruption.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import read_json, write_atomically
from bodyfit.prior.model import rotations as rot
from bodyfit.prior.model.checkpoint import save_prior
from bodyfit.prior.model.skeleton import pose_skeleton
from bodyfit.prior.model.vposer import VPoser, VPoserConfig
from bodyfit.prior.training import augment, curves
from bodyfit.prior.training.card import write_card
from bodyfit.prior.training.dataset import PoseSet, load_manifest, load_poses
from bodyfit.prior.training.losses import joint_distance, training_loss
from bodyfit.prior.training.measure import active_dimensions, measure
from bodyfit.prior.training.recipes import TrainConfig
from bodyfit.prior.training.synthesis import draw_poses

log = logging.getLogger(__name__)

_VALIDATION_POSES = 4096
Rotations = Float[Tensor, "B 21 3 3"]
# on_sheet(path, bodies): draws rows of body poses (axis-angle, 63) to a picture; passed in by a caller that can render.
OnSheet = Callable[[Path, dict[str, Float[Tensor, "N 63"]]], None]


class Batches(torch.utils.data.IterableDataset):
    """One epoch of augmented batches of rotations, determined by seed, epoch and rank.

    `synthetic` are the poses of which the recipe's share of each batch is taken.
    """

    def __init__(
        self,
        poses: PoseSet,
        config: TrainConfig,
        epoch: int,
        rank: int = 0,
        synthetic: Float[Tensor, "S 63"] | None = None,
    ):
        self.poses, self.config, self.epoch, self.rank, self.synthetic = poses, config, epoch, rank, synthetic
        self._weights = poses.weights(config.balance)

    def __len__(self) -> int:
        return self.config.steps_per_epoch

    def __iter__(self) -> Iterator[Rotations]:
        config = self.config
        generator = torch.Generator().manual_seed(hash((config.seed, self.epoch, self.rank)) % 2**63)
        count = config.steps_per_epoch * config.batch
        chosen = torch.multinomial(self._weights, count, replacement=True, generator=generator)
        for rows in chosen.split(config.batch):
            poses = torch.from_numpy(self.poses.poses[rows.numpy()])
            if self.synthetic is not None:
                poses = mixed(poses, self.synthetic, config.synthetic, generator)
            yield augmented(rot.matrices_from_axis_angle(poses), config, generator)


def mixed(
    poses: Float[Tensor, "B 63"], synthetic: Float[Tensor, "S 63"], share: float, generator: torch.Generator
) -> Float[Tensor, "B 63"]:
    """Poses with a share of them, at random places, replaced by random synthetic ones."""
    made = round(share * len(poses))
    rows = torch.randint(len(synthetic), (made,), generator=generator)
    order = torch.randperm(len(poses), generator=generator)
    return torch.cat([synthetic[rows], poses[order[made:]]])[order.argsort()]


def check_config(config: TrainConfig) -> None:
    """Refuse what no training can do, before anything is written. Raises BodyfitError."""
    if not 0 <= config.synthetic <= 1:
        raise BodyfitError(f"synthetic must be a share between 0 and 1, got {config.synthetic}")
    if config.schedule not in ("cosine", "plateau"):
        raise BodyfitError(f"schedule must be cosine or plateau, got {config.schedule!r}")


def _synthetic_poses(config: TrainConfig) -> Float[Tensor, "S 63"] | None:
    """Those of a recipe; None where it has none."""
    if config.synthetic == 0:
        return None
    return draw_poses(max(config.synthetic_poses, 1), seed=config.seed).axis_angles()[0]


def augmented(rotations: Rotations, config: TrainConfig, generator: torch.Generator) -> Rotations:
    """The augmentation of a recipe, applied to a batch."""
    if config.still_spread:
        rotations = augment.fill_still_joints(rotations, config.still_spread, generator)
    if config.mirror:
        rotations = rot.mirror_half(rotations, generator)
    share = int(config.exchange * len(rotations))
    if share > 1:
        rotations = torch.cat([augment.exchange_limbs(rotations[:share], 0.5, generator), rotations[share:]])
    return rotations


def build(config: TrainConfig) -> VPoser:
    """An untrained prior of a recipe's architecture."""
    architecture = VPoserConfig(
        encoder=config.encoder,
        decoder_hidden=config.decoder_hidden,
        decoder_dropout=config.decoder_dropout,
        decoder_softness=config.decoder_softness,
    )
    return VPoser(architecture, name=config.name)


def _make_module(prior: VPoser, config: TrainConfig) -> Any:
    """The Lightning module. Made in a function because Lightning is an optional package."""
    import lightning

    class TrainingModule(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.prior = prior

        def training_step(self, batch: Rotations, index: int) -> Tensor:
            # The noise of the latent comes from the global generator; seeded by the step, a resumed run is the same.
            torch.manual_seed(config.seed * 1_000_003 + self.global_step)
            posterior = prior.encode(rot.axis_angle_from_matrices(batch))
            progress = self.global_step / (config.epochs * config.steps_per_epoch)
            terms = training_loss(
                batch,
                prior.decode(posterior.rsample()),
                posterior,
                config,
                progress=progress,
                early=self.current_epoch < config.early_epochs,
            )
            # `train_loss` and not `loss`: the report pairs the curves of training and validation by their names.
            self.log("train_loss", terms.total.detach(), on_step=False, on_epoch=True)
            self.log("train_joints_mm", 1000 * terms.positions, on_step=False, on_epoch=True)
            self.log("train_angle_deg", torch.rad2deg(terms.angles), on_step=False, on_epoch=True)
            self.log("train_kl_nats", terms.divergence, on_step=False, on_epoch=True)
            return terms.total

        def validation_step(self, poses: Float[Tensor, "B 63"], index: int) -> None:
            target = rot.matrices_from_axis_angle(poses)
            posterior = prior.encode(poses)
            result = prior.decode(posterior.mean)
            terms = training_loss(target, result, posterior, config)
            distance = joint_distance(pose_skeleton(target)[0], pose_skeleton(result)[0])
            self.log("validation_loss", terms.total, prog_bar=True, sync_dist=True)
            self.log("validation_joints_mm", 1000 * distance, prog_bar=True, sync_dist=True)
            self.log("validation_angle_deg", torch.rad2deg(terms.angles), sync_dist=True)

        def configure_optimizers(self) -> dict:
            optimizer = torch.optim.AdamW(
                prior.parameters(), config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.99)
            )
            if config.schedule == "plateau":
                schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=2)
                return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "validation_loss"}}
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _cosine(step, config))
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    return TrainingModule()


def _cosine(step: int, config: TrainConfig) -> float:
    total = config.epochs * config.steps_per_epoch
    return min(1.0, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * min(step, total) / total)) + 1e-3


def _make_data(
    training: PoseSet,
    validation: Float[Tensor, "N 63"],
    config: TrainConfig,
    synthetic: Float[Tensor, "S 63"] | None,
) -> Any:
    import lightning

    class Data(lightning.LightningDataModule):
        def train_dataloader(self) -> torch.utils.data.DataLoader:
            batches = Batches(training, config, self.trainer.current_epoch, self.trainer.global_rank, synthetic)
            return torch.utils.data.DataLoader(batches, batch_size=None)

        def val_dataloader(self) -> torch.utils.data.DataLoader:
            return torch.utils.data.DataLoader(validation, batch_size=1024)

    return Data()


def train_prior(
    data: str | Path,
    run: str | Path,
    config: TrainConfig | None = None,
    *,
    on_sheet: OnSheet | None = None,
    progress_bar: bool = False,
) -> VPoser:
    """Train on a folder of prepared poses, or resume a run; returns the finished prior, also written to run/.

    Raises BodyfitError when the data has no training or validation split, or run/ belongs to another configuration.
    """
    config, run = config or TrainConfig(), Path(run)
    try:
        import lightning
    except ImportError:
        raise BodyfitError('training needs Lightning: pip install "bodyfit[train]"') from None
    check_config(config)
    training, validation = load_poses(data, "train"), load_poses(data, "validation")
    synthetic = _synthetic_poses(config)
    _claim(run, config, load_manifest(data))
    chosen = validation.draw(_VALIDATION_POSES, balance=0.5, seed=0)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    module = _make_module(build(config), config)
    record = _Record()
    trainer = _make_trainer(run, config, chosen, record, on_sheet, progress_bar)
    last = run / "checkpoints" / "last.ckpt"
    trainer.fit(module, _make_data(training, chosen, config, synthetic), ckpt_path=last if last.is_file() else None)
    if trainer.interrupted:
        raise BodyfitError(f"{run}: interrupted. The same command resumes after the last complete epoch")
    drawn = training.draw(config.measured_poses, balance=config.balance, seed=config.seed)
    if synthetic is not None:
        drawn = mixed(drawn, synthetic, config.synthetic, torch.Generator().manual_seed(config.seed))
    return _finish(run, config, trainer, module, drawn, chosen, load_manifest(data), record)


class _Record:
    """What a checkpoint stores besides the weights: seconds of training and the latest figures."""

    def __init__(self) -> None:
        self.before, self.figures, self._begin = 0.0, {}, time.monotonic()

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self._begin


def _make_trainer(
    run: Path,
    config: TrainConfig,
    chosen: Float[Tensor, "N 63"],
    record: _Record,
    on_sheet: OnSheet | None,
    progress_bar: bool,
) -> Any:
    import lightning
    from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger

    class Observer(Callback):
        def state_dict(self) -> dict:
            return {"seconds": record.seconds, "figures": record.figures}

        def load_state_dict(self, state: dict) -> None:
            record.before, record.figures = state["seconds"], state["figures"]

        def on_validation_epoch_end(self, trainer: Any, module: Any) -> None:
            if not trainer.sanity_checking and trainer.is_global_zero:
                record.figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
                log.info("epoch %d: %s", trainer.current_epoch, _words(record.figures))
                if on_sheet and (trainer.current_epoch + 1) % config.sheet_every == 0:
                    on_sheet(run / "sheets" / f"epoch_{trainer.current_epoch:03d}.png", _rows(module.prior, chosen))

    checkpoints = ModelCheckpoint(
        run / "checkpoints", filename="best", monitor="validation_loss", save_last=True, enable_version_counter=False
    )
    return lightning.Trainer(
        accelerator=config.accelerator,
        devices=config.devices if config.devices == "auto" else int(config.devices),
        precision=config.precision,
        max_epochs=config.epochs,
        logger=CSVLogger(run, name=curves.FOLDER, version=curves.next_part(run)),
        callbacks=[checkpoints, EarlyStopping("validation_loss", patience=config.patience), Observer()],
        gradient_clip_val=5.0,
        log_every_n_steps=50,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        enable_progress_bar=progress_bar,
        enable_model_summary=False,
    )


def _words(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in sorted(values.items()))


@torch.no_grad()
def _rows(prior: VPoser, poses: Float[Tensor, "N 63"]) -> dict[str, Float[Tensor, "8 63"]]:
    """Eight held-out poses, their reconstructions, and eight new ones."""
    device = next(prior.parameters()).device
    some = poses[:: len(poses) // 8][:8].to(device)
    new = torch.randn(8, prior.latent_dim, generator=torch.Generator().manual_seed(0)).to(device)
    return {
        "held out": some.cpu(),
        "reconstructed": prior.decode_axis_angle(prior.encode(some).mean).cpu(),
        "sampled": prior.decode_axis_angle(new).cpu(),
    }


def _claim(run: Path, config: TrainConfig, manifest: dict) -> None:
    """Write the whole configuration, or check that the run in this folder has the same one."""
    splits = {name: split["sha256"] for name, split in manifest["splits"].items()}
    document = json.loads(json.dumps({"train": asdict(config), "data": splits}))
    file = run / "config.json"
    if file.is_file():
        if read_json(file) != document:
            raise BodyfitError(f"{run}: holds a run with another configuration or other data. Choose another folder")
        return
    write_atomically(file, lambda path: path.write_text(json.dumps(document, indent=2) + "\n"))


def _finish(
    run: Path,
    config: TrainConfig,
    trainer: Any,
    module: Any,
    drawn: Float[Tensor, "N 63"],
    chosen: Float[Tensor, "N 63"],
    manifest: dict,
    record: _Record,
) -> VPoser:
    """Write the best weights with their statistics, measured on the drawn training poses, card and metrics."""
    state = torch.load(run / "checkpoints" / "best.ckpt", map_location="cpu", weights_only=True)["state_dict"]
    module.load_state_dict(state)
    prior = measure(
        module.prior,
        drawn,
        chosen,
        components=config.mixture_components,
        mixture_spread=config.mixture_spread,
        still_spread=config.still_spread,
        seed=config.seed,
    )
    eigenvalues = torch.linalg.eigvalsh(prior.latent_covariance)
    metrics = {
        "validation": record.figures,
        "active_dimensions": active_dimensions(prior, drawn),
        "latent_mean_largest": float(prior.latent_mean.abs().max()),
        "latent_covariance_eigenvalues": [round(float(value), 4) for value in eigenvalues],
        "epochs": trainer.current_epoch,
        "poses_per_second": round(trainer.global_step * config.batch / max(record.seconds, 1e-9)),
        "training_seconds": round(record.seconds),
    }
    facts = {"licence": "Apache-2.0 (weights); see MODEL_CARD.md for the data", "training": asdict(config)}
    save_prior(prior, run / "prior.safetensors", **facts, metrics=metrics)
    write_atomically(run / "metrics.json", lambda path: path.write_text(json.dumps(metrics, indent=2) + "\n"))
    write_card(run, config, metrics, manifest)
    return prior
