"""A study with people: places that raters rank by how real they look, the page and its server, the statistics."""
