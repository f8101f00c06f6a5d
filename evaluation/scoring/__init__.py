"""Scoring folders of samples: matching, measuring, records, summary and comparison."""
