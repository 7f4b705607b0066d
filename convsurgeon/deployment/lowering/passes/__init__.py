"""The passes of the lowering, one per file: a function from a graph to a new graph and what it did."""
