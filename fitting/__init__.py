"""From 2D keypoints to 3D bodies: landmarks, camera, residuals, solver, starts, pipeline, pictures."""
