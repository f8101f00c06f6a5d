"""Networks: generators, their registry and their weights files; `registry.MODELS` lists them by name."""
