"""Photographs and what is cut from them: patches, caches, LR images, checks."""
