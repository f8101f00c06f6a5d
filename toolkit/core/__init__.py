"""The base of all other packages: errors, settings, files, records, progress, devices, processes, seeds."""
