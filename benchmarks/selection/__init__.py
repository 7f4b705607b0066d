"""Which channels should stay? Five rules beside each other; `python -m benchmarks.selection`."""
