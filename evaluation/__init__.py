"""Metrics of the challenge (LPIPS, LR-PSNR, diversity) and further ones, with their tables and report."""
