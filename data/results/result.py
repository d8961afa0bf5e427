"""What a fit found out about one person, and what can be computed from it: mesh, joints, measures, samples, modes."""

import copy
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from bodyfit.data.files import write_bytes_atomically
from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.data.lazy import LazyModule
from bodyfit.data.results import modes, posterior
from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.own_body import body_at_hand
from bodyfit.data.results.record import FURTHER, RUNNER_UP, FitRecord
from bodyfit.data.results.record_files import read_record, record_bytes

if TYPE_CHECKING:
    import torch
    import trimesh

    from bodyfit.data.body import body_model as body_models  # body_model is a field of FitResult
    from bodyfit.data.body import measures, posing
else:  # results are read, compared and put into tables without any of these, which take seconds
    torch, trimesh = LazyModule("torch"), LazyModule("trimesh")
    body_models, posing = LazyModule("bodyfit.data.body.body_model"), LazyModule("bodyfit.data.body.posing")
    measures = LazyModule("bodyfit.data.body.measures")


class Joints(NamedTuple):
    """The joints of a fitted body: `names, xyz, px = result.joints()`."""

    names: tuple[str, ...]
    """Of the J joints: all 55 of SMPL-X, or those that the body has."""
    xyz: Float[np.ndarray, "J 3"]
    """Metres, in the camera frame."""
    px: Float[np.ndarray, "J 2"]
    """Where they are in the photo."""


class FitResult(FitRecord):
    """One person's body in one photo. Conventions are in `CONVENTIONS`, which every file repeats."""

    def __repr__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return (
            f"<FitResult: {self.status}{why}, error {self.error_px:.1f} px, stature {self.stature_m:.2f} m, "
            f"focal length {self.focal_px:.0f} px ({self.focal_source}), body {self.body_model}>"
        )

    def smplx_parameters(self, dtype: "torch.dtype | None" = None) -> "dict[str, torch.Tensor]":
        """`parameters` as tensors on the CPU, float32 unless `dtype` says otherwise.

            model = smplx.create(path, "smplx", use_pca=False, flat_hand_mean=True, num_betas=10)
            vertices = model(**result.smplx_parameters()).vertices

        Raises ResultError for a person whose fit failed.
        """
        self._must_be_fitted()
        return {name: torch.as_tensor(value, dtype=dtype or torch.float32) for name, value in self.parameters().items()}

    def mesh(self, body: "body_models.BodyModel | None" = None) -> "trimesh.Trimesh":
        """The body as a mesh: metres, in the camera frame, vertices and faces in the body model's order.

        Args:
            body: The body model that this result was fitted with; None: the open body, where it was that.

        Raises:
            ResultError: where the fit failed, or the result belongs to another body than the one at hand.
        """
        body = self._body_at_hand(body)
        vertices = posing.pose_body(body, **self.smplx_parameters(torch.float64)).vertices[0].numpy()
        return trimesh.Trimesh(vertices, body.faces, process=False)

    def measure(self, body: "body_models.BodyModel | None" = None) -> "measures.Measures":
        """Stature, inseam, arm span, girths, volume and mass of the person's shape: metres, m^3, kg.

        The pose does not matter: the shape is measured standing, in pose zero. From one photo, absolute size is a guess
        (`data.body.measures.SCALE_NOTE`).

        Args:
            body: The body model that this result was fitted with; None: the open body, where it was that.

        Raises:
            ResultError: where the fit failed, or the result belongs to another body than the one at hand.
        """
        return measures.measure_body(self._body_at_hand(body), self.betas)

    def joints(self) -> Joints:
        """Names and positions of the joints. The rest (skin and face points) is in `landmarks`.

        Raises ResultError for a person whose fit failed.
        """
        self._must_be_fitted()
        rows = [self.landmark_names.index(name) for name in JOINT_NAMES]
        there = [row for row in rows if np.isfinite(self.landmarks[row]).all()]
        names = tuple(self.landmark_names[row] for row in there)
        return Joints(names, self.landmarks[there], self.landmarks_px[there])

    def block_covariance(self, block: str) -> Float[np.ndarray, "n n"]:
        """Covariance of a block of unknowns: global_orient, transl, latent, betas, expression, jaw_pose, left_hand or
        right_hand (coefficients of the hands' components), log_focal where it was refined.

        Raises ResultError where the posterior was not kept, or has no such block.
        """
        rows = self._posterior_rows()
        if block not in rows:
            raise ResultError(f"no block '{block}' in the posterior. It has {', '.join(rows)}.")
        return rows[block] @ rows[block].T

    def sample(
        self,
        count: int,
        *,
        prior: "posterior.Decodes | None" = None,
        body: "body_models.BodyModel | None" = None,
        seed: int = 0,
    ) -> dict[str, Float[np.ndarray, "N n"]]:
        """Draws from this person's posterior: parameters that explain the keypoints, by name, as `pose_body` takes.

        They tell how sure whatever is computed from the parameters is: compute it of each, and look at the spread.

        Args:
            count: how many.
            prior: the pose prior that the person was fitted with; None: it, where this result comes from a fit in this
                program. Results that were read from files do not hold it: `prior=bodyfit.load_prior()`.
            body: The body model that this result was fitted with; None: the open body, where it was that.
            seed: the same seed draws the same.

        Raises:
            ResultError: where the posterior was not kept, or the prior or the body is another one.
        """
        rows = self._posterior_rows()
        prior = posterior.own_prior(self.person_id, self.prior, prior, self.__dict__.get("_prior"))
        body = self._body_at_hand(body)
        given = self.parameters()
        return posterior.sample(given, self.latent, self.focal_px, rows, count, prior=prior, body=body, seed=seed)

    def with_prior(self, prior: "posterior.Decodes") -> "FitResult":
        """The same result, which knows its prior: `sample` then needs none. Files and pickles do not keep it."""
        known = copy.copy(self)
        object.__setattr__(known, "_prior", prior)
        return known

    def without_posterior(self) -> "FitResult":
        """The same result without what `sample` draws from, which is as large as all the rest."""
        known = copy.copy(self)
        object.__setattr__(known, "posterior_factor", np.zeros(0, np.float32))
        object.__setattr__(known, "posterior_blocks", "")
        return known

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_prior"}

    def _posterior_rows(self) -> dict[str, Float[np.ndarray, "k D"]]:
        self._must_be_fitted()
        if not self.posterior_factor.size:
            raise ResultError(
                f"person {self.person_id}: the posterior was not kept. Of photos, `bodyfit fit --posterior` writes it "
                "to files; frames of clips have none of their own: Track.sample() draws whole motions."
            )
        return posterior.unpacked(self.posterior_factor, self.posterior_blocks)

    def _body_at_hand(self, body: "body_models.BodyModel | None") -> "body_models.BodyModel":
        """The body given, or the open one. Raises ResultError as `mesh` says."""
        self._must_be_fitted()
        return body_at_hand(self, self.person_id, body)

    def _must_be_fitted(self) -> None:
        if self.status == "failed":
            raise ResultError(f"person {self.person_id} of {self.photo or 'no photo'} was not fitted: {self.reason}")

    @property
    def has_runner_up(self) -> bool:
        """Whether the body of the alternative hypothesis was kept."""
        return self.runner_up_body_pose.size > 0

    def runner_up_parameters(self) -> dict[str, Float[np.ndarray, "1 n"]]:
        """`parameters` of the alternative hypothesis; hands, jaw, eyes and expression are this one's.

        Raises ResultError where there is no alternative hypothesis.
        """
        if not self.has_runner_up:
            raise ResultError(
                f"person {self.person_id} of {self.photo or 'no photo'}: no alternative hypothesis was kept."
            )
        other = {name.removeprefix("runner_up_"): getattr(self, name)[None] for name in RUNNER_UP}
        return self.parameters() | other

    def further_parameters(self, n: int) -> dict[str, Float[np.ndarray, "1 n"]]:
        """`runner_up_parameters` of a further mode, counted from 0. Raises ResultError where there is no such mode."""
        if not 0 <= n < len(self.further_weight):
            raise ResultError(f"person {self.person_id}: {len(self.further_weight)} further modes, and none at {n}.")
        other = {name.removeprefix("further_"): getattr(self, name)[n : n + 1] for name in FURTHER}
        return self.parameters() | other

    @property
    def modes(self) -> "tuple[modes.Mode, ...]":
        """The poses that this person may have, with weights: the best one, then the alternatives that were kept, the
        most probable one first.

        for mode in result.modes:
            mode.weight, mode.words, mode.parameters["body_pose"]
        """
        return modes.modes(self)

    def save(self, path: Path | str) -> Path:
        """Write .npz, .json or .pkl, by the suffix. Raises ResultError for another one."""
        path = Path(path)
        if path.suffix.lower() == ".pkl":
            return write_bytes_atomically(path, pickle.dumps(self.smplify_x(), protocol=2))
        return write_bytes_atomically(path, record_bytes(self, path))

    @classmethod
    def load(cls, path: Path | str) -> "FitResult":
        """Read what `save` wrote as .npz or .json.

        A .pkl holds too little to be a result. Raises ResultError naming what is missing or does not fit.
        """
        return read_record(cls, Path(path))

    def smplify_x(self, latent: Float[np.ndarray, " Z"] | None = None) -> dict[str, Float[np.ndarray, "1 n"]]:
        """SMPLify-X's keys and shapes: the body stands in its own frame and the camera is moved, which is the same.

        `body_pose` holds 63 axis-angle numbers, or the `latent` of the VPoser that SMPLify-X is to be used with, as its
        own files do. A hand holds 45 where it wrote 12.
        """
        content = {name: value.astype(np.float32) for name, value in self.parameters().items() if name != "transl"}
        if latent is not None:
            content["body_pose"] = np.asarray(latent, dtype=np.float32)[None]
        camera = {
            "camera_rotation": np.eye(3, dtype=np.float32)[None],
            "camera_translation": self.transl[None].astype(np.float32),
        }
        return camera | content
