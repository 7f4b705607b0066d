"""Latency of converted networks beside their originals and beside channel pruning, in three runtimes."""
