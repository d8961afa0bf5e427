"""Which pose to expect of a person, given the keypoints: a Gaussian in the pose prior's latent space.

A pose prior knows how people stand at large. Keypoints say more, also of what they leave open, above all of depth: the
start network tells the middle of the poses that look alike. So the energy's pose term is the distance from what the
network expects, in units of how far that usually is from the truth. Both come from the network's examples, poses
that it expected and what they truly were: the linear regression of the true poses' latents on those expected, and the
covariance of what remains. Any prior can encode the examples, so a network serves priors made after it.
"""

from __future__ import annotations

import torch

from bodyfit.fitting.energy.observations import PredictedPose
from bodyfit.fitting.start.network import StartNetwork, StartNetworkError, StartProposals
from bodyfit.prior.model.rotations import axis_angle_from_matrices
from bodyfit.prior.model.vposer import VPoser

EXAMPLES_A_DIMENSION = 10  # fewer would make a covariance that fits the examples and nobody else


class PosePredictor:
    """Turns what the network puts out into expectations.

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
        """What to expect of each person."""
        pose = axis_angle_from_matrices(proposals.predicted_pose.to(self._like))
        latent = self.prior.encode(pose).mean
        return PredictedPose(self.offset + latent @ self.slope, self.whitener)
