"""Checking samples, packing them for the challenge and verifying submissions."""
