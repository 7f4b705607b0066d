"""Pieces that the families' deployment forms are built of."""
