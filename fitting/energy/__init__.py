"""What is minimised and how: landmarks, residuals, Jacobians, Levenberg-Marquardt."""
