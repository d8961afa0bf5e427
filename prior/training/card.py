"""The model card of a training run: what it is, what it saw, how good it is, and under which terms."""

import json
from dataclasses import asdict
from pathlib import Path

from bodyfit.data.files import write_atomically
from bodyfit.prior.training.recipes import TrainConfig

# Acknowledgements that a source asks for, found by a word in the licence that it states.
ACKNOWLEDGEMENTS = {
    "CMU": "The data used in this project was obtained from mocap.cs.cmu.edu. "
    "The database was created with funding from NSF EIA-0196217.",
    "ACCAD": "Motion capture data: Open Motion Project, Advanced Computing Center for the Arts and Design (ACCAD), "
    "The Ohio State University, https://accad.osu.edu/research/motion-lab/mocap-system-and-data, CC BY 3.0. "
    "Changes: retargeted to 22 joints, resampled to about 15 fps.",
}


def write_card(run: Path, config: TrainConfig, metrics: dict, data: dict | None = None, evaluation: str = "") -> None:
    """Write run/MODEL_CARD.md from the run's own files; `evaluation` is a Markdown section from `prior evaluate`."""
    data = data or {}
    lines = [
        f"# Pose prior {config.name}",
        "",
        "A variational autoencoder over the 21 body joints of SMPL, SMPL-H and SMPL-X (VPoser, Pavlakos et al.,",
        "CVPR 2019): 63 axis-angle numbers to 32 latent ones and back. It models body poses only, and",
        "nothing about hands, faces, shapes, balance or contact.",
        "",
        "## Data",
        "",
        *_data_lines(data),
        "",
        *_synthetic_lines(config),
        "## Training",
        "",
        f"{metrics['epochs']} epochs of {config.steps_per_epoch} steps of {config.batch} poses, "
        f"{metrics['training_seconds']} s, {metrics['poses_per_second']} poses per second. Configuration:",
        "",
        "```json",
        json.dumps(asdict(config), indent=1),
        "```",
        "",
        "## Latent space",
        "",
        f"- active dimensions: {metrics['active_dimensions']} of 32",
        f"- aggregate posterior: largest mean {metrics['latent_mean_largest']:.2f}, covariance eigenvalues "
        f"{metrics['latent_covariance_eigenvalues'][0]:.2f} to {metrics['latent_covariance_eigenvalues'][-1]:.2f} "
        "(a unit Gaussian has 0 and 1)",
        "",
        "## Figures",
        "",
        evaluation or "Validation at the last epoch: " + json.dumps(metrics["validation"]),
        "",
    ]
    write_atomically(run / "MODEL_CARD.md", lambda path: path.write_text("\n".join(lines)))


def _synthetic_lines(config: TrainConfig) -> list[str]:
    if not config.synthetic:
        return []
    return [
        f"{config.synthetic:.0%} of every batch are synthetic poses ({config.synthetic_poses}, seed {config.seed}),",
        "drawn within ranges of motion, in families from standing to handstand (prior/training/families.py).",
        "",
    ]


def _data_lines(manifest: dict) -> list[str]:
    if not manifest:
        return ["See the manifest of the prepared folder."]
    lines = ["| split | clips | subjects | poses | hours |", "|---|---|---|---|---|"]
    used = {name: split for name, split in manifest["splits"].items() if name in ("train", "validation")}
    for name, split in used.items():
        lines.append(f"| {name} | {split['clips']} | {split['subjects']} | {split['poses']} | {split['hours']:.2f} |")
    licences: dict[str, int] = {}
    for split in used.values():
        for licence, poses in split["poses_by_licence"].items():
            licences[licence] = licences.get(licence, 0) + poses
    lines += ["", "Trained on `train`; `validation` chose the epoch and set the scales of the score.", ""]
    lines += ["| licence as stated by the source | poses |", "|---|---|"]
    lines += [f"| {licence} | {poses} |" for licence, poses in sorted(licences.items(), key=lambda item: -item[1])]
    asked = [text for word, text in ACKNOWLEDGEMENTS.items() if any(word in licence for licence in licences)]
    return lines + ["", *[line for text in asked for line in (text, "")]][:-1]
