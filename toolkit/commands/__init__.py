"""The `ntire-sr` command: one file per command or pair of commands."""
