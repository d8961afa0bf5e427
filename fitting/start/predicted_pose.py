"""The pose predicted from a person's keypoints, as a Gaussian in the latent space of the pose prior.

A pose prior describes poses in general. Keypoints say more, also about what they do not determine, above all depth: the
start network predicts the mean of the poses that agree with them. The pose term of the energy is therefore the distance
from the predicted pose, in units of the usual prediction error. Mean and covariance come from the network's examples
of predicted and true poses: the linear regression of the true latents on the predicted ones, and the covariance of the
residuals. Any prior can encode the examples, so the network also works with priors trained later.
"""

from __future__ import annotations

import torch

from bodyfit.fitting.energy.observations import PredictedPose
from bodyfit.fitting.start.network import StartNetwork, StartNetworkError, StartProposals
from bodyfit.prior.model.rotations import axis_angle_from_matrices
from bodyfit.prior.model.vposer import VPoser

EXAMPLES_A_DIMENSION = 10  # fewer would give a covariance that overfits the examples


class PosePredictor:
    """Turns the output of the network into a Gaussian per person.

    Args:
        prior: whose latent space it is.
        network: a start network with examples (`StartNetwork.examples`).

    Raises:
        StartNetworkError: for too few examples, or examples that are all alike.
    """

    def __init__(self, prior: VPoser, network: StartNetwork):
        true, read = network.examples
        needed = EXAMPLES_A_DIMENSION * prior.latent_dim
        if len(true) < needed:
            raise StartNetworkError(
                f"the start network has {len(true)} examples of its predictions, and a latent space of "
                f"{prior.latent_dim} dimensions needs {needed}. Train it again with more (`--training.examples`)."
            )
        self.prior, self._like = prior, prior.latent_mean
        with torch.no_grad():
            true, read = (prior.encode(pose.to(self._like)).mean.double() for pose in (true, read))
        known = torch.nn.functional.pad(read, (1, 0), value=1.0)
        coefficients = torch.linalg.lstsq(known, true).solution
        missed = true - known @ coefficients
        covariance = missed.T @ missed / (len(missed) - known.shape[1])
        self.offset, self.slope = coefficients[0].to(self._like), coefficients[1:].to(self._like)
        try:
            self.whitener = torch.linalg.inv(torch.linalg.cholesky(covariance)).to(self._like)
        except torch.linalg.LinAlgError as cause:
            raise StartNetworkError(
                "the start network's examples are too much alike to tell how far its predictions can be trusted. Train "
                "it again on more motion, or with --examples-of prior."
            ) from cause

    @torch.no_grad()
    def __call__(self, proposals: StartProposals) -> PredictedPose:
        """Mean and covariance for each person."""
        pose = axis_angle_from_matrices(proposals.predicted_pose.to(self._like))
        latent = self.prior.encode(pose).mean
        return PredictedPose(self.offset + latent @ self.slope, self.whitener)
