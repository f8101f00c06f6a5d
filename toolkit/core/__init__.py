"""The base that all other packages build on: errors, settings, files, images, the downscale, processes."""
