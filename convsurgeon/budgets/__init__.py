"""Budgets for continuous integration: a build that fails when a model grows."""

from convsurgeon.budgets.config import Config, Entry, Settings, find_config, read_config
from convsurgeon.budgets.lock import LOCK_FILE, Lock
from convsurgeon.budgets.measurement import Measured, measure
from convsurgeon.budgets.record import CheckReport, Figure, Row
from convsurgeon.budgets.run import Checked, check

__all__ = [
    "LOCK_FILE",
    "CheckReport",
    "Checked",
    "Config",
    "Entry",
    "Figure",
    "Lock",
    "Measured",
    "Row",
    "Settings",
    "check",
    "find_config",
    "measure",
    "read_config",
]
