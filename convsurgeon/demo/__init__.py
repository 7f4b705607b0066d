"""A demonstration that needs nothing but this package: a small network, 1,797 digits, every family in one table."""
