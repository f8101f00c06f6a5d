"""Metrics of one image or of a data set, one file per metric."""
