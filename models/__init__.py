"""Generators and what trains them; `ntire_sr.models.table` lists them by name."""
