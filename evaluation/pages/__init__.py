"""HTML pages of scores and comparisons: templates, charts and pictures."""
