"""How sure a fit is: covariances from the solver's own Hessian, and other modes that explain the keypoints as well."""
