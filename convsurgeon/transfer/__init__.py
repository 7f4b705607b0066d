"""Pretrained weights carried over into compact convolutions, in closed form, on a few unlabelled inputs."""

from __future__ import annotations

from convsurgeon.families.regression.samples import SiteData
from convsurgeon.transfer.agreement import Agreement
from convsurgeon.transfer.calibration import Calibration
from convsurgeon.transfer.carry_over import inherit
from convsurgeon.transfer.damage_file import Estimate
from convsurgeon.transfer.fit import FitResult, fit
from convsurgeon.transfer.inherited import Inherited, InheritSettings, SiteFit
from convsurgeon.transfer.measure import DamageTable, measure_damage
from convsurgeon.transfer.measurement import DamageSettings
from convsurgeon.transfer.rivals import Costs
from convsurgeon.transfer.traffic import Supply, Traffic

__all__ = [
    "Agreement",
    "Calibration",
    "Costs",
    "DamageSettings",
    "DamageTable",
    "Estimate",
    "FitResult",
    "InheritSettings",
    "Inherited",
    "SiteData",
    "SiteFit",
    "Supply",
    "Traffic",
    "fit",
    "inherit",
    "measure_damage",
]
