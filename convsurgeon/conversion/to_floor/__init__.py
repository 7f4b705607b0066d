"""The smallest network above a floor: planned, fitted and judged a few times, with the damage measured once."""

from convsurgeon.conversion.to_floor.find import Found, found_above

__all__ = ["Found", "found_above"]
