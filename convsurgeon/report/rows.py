"""A report's layers as flat records, for data frames."""

from __future__ import annotations

from convsurgeon.report.record import Report

__all__ = ["LayerValue", "layer_rows"]

LayerValue = str | int | float | None


def layer_rows(report: Report) -> list[dict[str, LayerValue]]:
    """One record for each convolution in execution order, all with the same keys.

    MACs are those of one forward over all calls; times are milliseconds; None is what was not measured.
    """
    return [
        {
            "layer": layer.name,
            "was": layer.was,
            "calls": layer.calls,
            "action": layer.action,
            "reason": layer.reason,
            "family": None if layer.spec is None else layer.spec.family,
            "macs_before": layer.before.macs,
            "macs_after": layer.after.macs,
            "params_before": layer.before.params,
            "params_after": layer.after.params,
            "damage": layer.damage,
            "error_left": report.errors.get(layer.name),
            "ms_before": None if layer.latency is None else layer.latency.before_ns / 1e6,
            "ms_after": None if layer.latency is None else layer.latency.after_ns / 1e6,
        }
        for layer in report.plan.layers
    ]
