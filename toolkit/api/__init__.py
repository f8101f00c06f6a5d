"""The Python interface: what `import ntire_sr` offers. Its functions are defined in the modules of this package."""
