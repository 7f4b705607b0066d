"""Least squares on second moments of unfolded inputs: what every family's fit is made of."""
