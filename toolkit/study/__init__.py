"""A study with people: raters rank samples by how real they look; making it, its server, its statistics."""
