"""What the challenge defines: downscale, projection, file names, editions, published results."""
