"""Pretrained weights carried over into compact convolutions, in closed form, on a few unlabelled inputs."""

from __future__ import annotations

from convsurgeon.inherit.agreement import Agreement
from convsurgeon.inherit.calibrate import Inherited, InheritSettings, SiteFit, inherit
from convsurgeon.inherit.calibration import Calibration
from convsurgeon.inherit.damage_file import Estimate
from convsurgeon.inherit.fit import FitResult, fit
from convsurgeon.inherit.measure import DamageSettings, DamageTable, measure_damage
from convsurgeon.inherit.site_data import SiteData

__all__ = [
    "Agreement",
    "Calibration",
    "DamageSettings",
    "DamageTable",
    "Estimate",
    "FitResult",
    "InheritSettings",
    "Inherited",
    "SiteData",
    "SiteFit",
    "fit",
    "inherit",
    "measure_damage",
]
