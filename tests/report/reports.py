"""Reports to draw: one as small as possible, and one with everything in it."""

from __future__ import annotations

from convsurgeon.families.cost import ConvShape
from convsurgeon.families.igc.spec import IGCSpec
from convsurgeon.models.origin import WeightsOrigin
from convsurgeon.planning.plan import Action, CostRecord, LayerLatency, Plan, PlanLayer
from convsurgeon.recovery.history import History, HistoryRow, Score
from convsurgeon.recovery.settings import RecoverSettings
from convsurgeon.report.record import Fidelity, Report, Timing
from convsurgeon.runtimes.place import Place
from convsurgeon.runtimes.timer import Spread

# What a browser, a terminal or a reader could take for something else.
HOSTILE = "<script>alert('x')</script><img src=https://example.org/x onerror=alert(1)>\"'&\u202e\x1b[2J\x00"
SPEC = IGCSpec(primary_groups=4, secondary_groups=1, mid_channels=64)
SHAPE = ConvShape(in_channels=64, out_channels=64, kernel=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1))


def layer(name: str, action: Action = "replaced", reason: str = "stem", **more: object) -> PlanLayer:
    """One row; a replaced one becomes an IGC unit."""
    spec = SPEC if action == "replaced" else None
    before = CostRecord(macs=36_864, params=36_928)
    return PlanLayer(
        name=name,
        kind="Conv2d",
        shape=SHAPE,
        calls=1,
        positions=1,
        action=action,
        reason=SPEC.describe() if spec else reason,
        spec=spec,
        before=before,
        after=CostRecord(macs=13_312, params=13_376) if spec else before,
        **more,  # type: ignore[arg-type]
    )


def report(layers: tuple[PlanLayer, ...], **more: object) -> Report:
    """A report of these layers; the whole costs what they cost."""
    before, after = (
        CostRecord(
            macs=sum(getattr(row, which).macs for row in layers),
            params=sum(getattr(row, which).params for row in layers),
        )
        for which in ("before", "after")
    )
    plan = Plan(
        model="net",
        fingerprint="0",
        input_shapes=((1, 64, 1, 1),),
        counted_on="meta",
        method="igc",
        target=("macs=50%",),
        objective="damage",
        solver="by hand",
        before=before,
        after=after,
        layers=layers,
    )
    given = {"plan": plan, "weights": WeightsOrigin("file", "w.pth"), "inherited": "fitted", **more}
    return Report(**given)  # type: ignore[arg-type]


def history(rows: int = 3) -> History:
    """A recovery with labels and learned groups."""
    scores = [Score(images=200, accuracy=0.5 + 0.1 * row / rows, classes=10) for row in range(rows)]
    return History(
        settings=RecoverSettings(),
        steps=rows,
        images=64 * rows,
        labels=False,
        device="cpu",
        precision="fp32",
        processes=1,
        original=Score(images=200, accuracy=0.7),
        before=Score(images=200, accuracy=0.4),
        after=scores[-1],
        kept_step=rows,
        rows=tuple(
            HistoryRow(step=i + 1, epoch=0, loss=1 / (i + 1), lr=1e-3, score=score, groups={"a": 2 ** min(i, 3)})
            for i, score in enumerate(scores)
        ),
    )


def spread(milliseconds: int) -> Spread:
    """All samples alike."""
    ns = milliseconds * 1_000_000
    return Spread(median_ns=ns, low_ns=ns, high_ns=ns, least_ns=ns, samples=7)


def timing(before: int, after: int) -> Timing:
    """So many milliseconds before and after."""
    place = Place(runtime="eager", precision="float32", device="a device", threads=1, torch="0.0")
    return Timing(place=place, batch=1, original=spread(before), converted=spread(after))


def everything(count: int = 3, text: str = "") -> Report:
    """A report with all of its parts; ``text`` is in every text that comes from outside."""
    rows = [layer(f"stage{i}.conv{text}", latency=LayerLatency(before_ns=2000, after_ns=1000)) for i in range(count)]
    full = report(
        (*rows, layer(f"stem{text}", "kept"), layer(f"odd{text}", "refused", f"grouped{text}")),
        weights=WeightsOrigin("file", f"w.pth{text}"),
        inherited=f"fitted{text}",
        notes=(f"a note{text}",),
        errors={row.name: 0.0123 for row in rows},
        fidelity=Fidelity(fitted=64, inputs=50, output_error=0.01, top1_agreement=0.98),
        recovery=history().model_copy(update={"extras": (f"extra{text}",)}),
        timing=timing(8, 6),
        command=f"convsurgeon convert net{text}",
    )
    return full.model_copy(update={"plan": full.plan.model_copy(update={"model": f"net{text}"})})
