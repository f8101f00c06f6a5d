"""Trainers: one per model that can be trained, with its settings and presets."""
