"""The `ntire-sr` command, a file per command or pair of commands."""
