"""Body models of the SMPL family: files, arrays, and posed meshes."""
