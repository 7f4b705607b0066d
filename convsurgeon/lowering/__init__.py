"""Lowering: a network's deployment form with equal outputs, in passes over its graph."""

from convsurgeon.lowering.network import Lowered, lower
from convsurgeon.lowering.step import Step

__all__ = ["Lowered", "Step", "lower"]
