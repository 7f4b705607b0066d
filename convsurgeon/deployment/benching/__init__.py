"""``bench``: the original and the converted network timed in turn, in every runtime that is here."""

from convsurgeon.deployment.benching.networks import bench
from convsurgeon.deployment.benching.record import BenchFigure, BenchLayer, BenchReport, BenchRow

__all__ = ["BenchFigure", "BenchLayer", "BenchReport", "BenchRow", "bench"]
