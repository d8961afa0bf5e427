"""Motion capture files: AMASS, BVH, and the way from their skeletons to ours."""
