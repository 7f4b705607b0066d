"""The compatibility matrix: every network people have × every method, each in a process of its own.

scripts/matrix rebuilds docs/matrix.md and docs/matrix.jsonl. It calls convsurgeon's public names only, and judges them
by means of its own (its own walk over the modules, FlopCounterMode, bytes of weights and outputs).
"""
