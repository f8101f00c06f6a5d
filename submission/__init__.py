"""Checking a folder of samples and packing it for the challenge."""
