"""Sampling: from LR images to folders of samples."""
