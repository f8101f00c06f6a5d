"""Losses: energy scores, adversarial losses, and the feature networks they compare."""
