"""What a fit writes: parameters, meshes, rigged bodies."""
