"""Accuracy against latency on networks trained here: every point without training, and after equal training."""
