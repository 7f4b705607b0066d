"""Quantising: what is done to a network in float before a runtime's library makes it int8, and what int8 costs it."""
