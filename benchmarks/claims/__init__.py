"""Do the papers' claims hold in small nets trained from scratch? See ``python -m benchmarks.claims --help``."""
