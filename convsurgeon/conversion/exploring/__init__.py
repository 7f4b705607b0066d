"""Every method at every target, from one calibration, beside each other."""

from convsurgeon.conversion.exploring.exploration import Exploration
from convsurgeon.conversion.exploring.explore import explored
from convsurgeon.conversion.exploring.order import Order

__all__ = ["Exploration", "Order", "explored"]
