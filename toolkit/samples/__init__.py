"""Samples on disk: image files, the manifest, the sample folder and its inspection."""
