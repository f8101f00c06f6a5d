"""From LR images to folders of samples."""
