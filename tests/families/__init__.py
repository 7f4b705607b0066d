"""Tests of the convolutions, one paper per file."""
