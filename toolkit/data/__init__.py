"""Training images: photographs, patches, the cache of decoded images, LR images, checks."""
