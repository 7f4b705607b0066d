"""Lowering: a network's deployment form with equal outputs, in passes over its graph."""

from convsurgeon.deployment.lowering.network import Lowered, lower
from convsurgeon.deployment.lowering.step import Step

__all__ = ["Lowered", "Step", "lower"]
