"""Layers in groups: by action, by family or reason, none lost."""

from __future__ import annotations

from convsurgeon.report.groups import grouped, macs_words
from tests.report.reports import layer


def test_layers_fall_into_groups_by_what_became_of_them() -> None:
    """Replaced ones by family, others by reason, the largest first, actions in their own order."""
    layers = (layer("a", "kept", "stem"), layer("b"), layer("c"), layer("d", "refused", "odd"))
    assert [(group.action, group.what, len(group.layers)) for group in grouped(layers)] == [
        ("replaced", "IGC", 2),
        ("kept", "stem", 1),
        ("refused", "odd", 1),
    ]
    assert macs_words(grouped(layers)[0]) == "73.728 k → 26.624 k"
    assert macs_words(grouped(layers)[1]) == "36.864 k"


def test_rare_reasons_are_counted_together() -> None:
    """Six reasons are five groups and no layer is lost; five reasons stay five."""
    six = tuple(layer(str(i), "refused", f"reason {i}") for i in range(6))
    groups = grouped(six)
    assert [group.what for group in groups[-2:]] == ["reason 3", "2 other reasons"]
    assert sum(len(group.layers) for group in groups) == 6
    assert [group.what for group in grouped(six[:5])] == [f"reason {i}" for i in range(5)]
