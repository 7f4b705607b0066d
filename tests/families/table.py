"""The families' rows for every test that holds for all of them; a new family adds one."""

from __future__ import annotations

from dataclasses import dataclass

from convsurgeon.families.compconv.spec import CompConvSpec
from convsurgeon.families.dgconv.spec import DGConvSpec
from convsurgeon.families.family import Spec
from convsurgeon.families.igc.spec import IGCSpec
from convsurgeon.families.spatial.spec import SpatialSpec
from convsurgeon.families.tucker.spec import TuckerSpec

__all__ = ["FIXED", "ROWS", "SPECS", "WORDS", "Row"]


@dataclass(frozen=True)
class Row:
    """One family in the tests.

    Attributes:
        fixed: the method's name that converts a network without a target.
        words: names whose specs are built, priced and run on convolutions of every kind.
        specs: units of 16→16 channels, 3×3, that are fitted.
    """

    fixed: str
    words: tuple[str, ...]
    specs: tuple[Spec, ...]


ROWS: dict[str, Row] = {
    "compconv": Row(
        fixed="compconv128",
        words=("compconv32", "compconv128", "compconv"),
        specs=(
            CompConvSpec(depth=1, primary_channels=8, tail_kernel=(3, 3)),
            CompConvSpec(depth=2, primary_channels=3, tail_kernel=(3, 3)),
        ),
    ),
    "igc": Row(
        fixed="igc-l4m2",
        words=("igc", "igc-b4", "igc-l4m2", "igc-l1m1", "igc-l2m3-w12"),
        specs=(
            IGCSpec(primary_groups=1, secondary_groups=1, mid_channels=8),
            IGCSpec(primary_groups=4, secondary_groups=1, mid_channels=16),
            IGCSpec(primary_groups=4, secondary_groups=2, mid_channels=16),
        ),
    ),
    "dgconv": Row(fixed="dgconv", words=("dgconv",), specs=(DGConvSpec(groups=4),)),
    "spatial": Row(
        fixed="spatial-r8",
        words=("spatial", "spatial-r8"),
        specs=(SpatialSpec(mid_channels=8), SpatialSpec(mid_channels=12, first="horizontal")),
    ),
    "tucker": Row(
        fixed="tucker-r8x8",
        words=("tucker", "tucker-r8x12"),
        specs=(TuckerSpec(in_rank=8, out_rank=8), TuckerSpec(in_rank=12, out_rank=6)),
    ),
}
FIXED = tuple(row.fixed for row in ROWS.values())
WORDS = ("auto", *(word for row in ROWS.values() for word in row.words))
SPECS = tuple(spec for row in ROWS.values() for spec in row.specs)
