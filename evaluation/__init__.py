"""What the challenge measures: LPIPS, LR-PSNR, diversity."""
