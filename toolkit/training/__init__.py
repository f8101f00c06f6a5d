"""Training: the loop, its configuration, log, validation, checkpoints and status."""
