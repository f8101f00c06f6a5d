"""The Python interface: what `import ntire_sr` offers. Its functions stand in the modules of this package."""
