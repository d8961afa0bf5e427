"""What comes in and goes out: keypoints, body models, mocap, photos, results, shipped assets."""
