"""Generators and what trains them; `ntire_sr.models.registry` lists them by name."""
