"""What every room stands on: errors, settings, files, images, the downscale, processes."""
