"""What candidates of one site share changes nothing in what is found for each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import nn

from convsurgeon.base.generators import seeded
from convsurgeon.base.inputs import as_inputs
from convsurgeon.families import family_of, parse_method
from convsurgeon.families.compconv.pairing import best_pairs
from convsurgeon.families.dgconv.grouping import group_fit
from convsurgeon.families.dgconv.partition import partitions
from convsurgeon.families.family import Spec
from convsurgeon.families.regression.assessment import assess, assess_both
from convsurgeon.families.regression.fitting import LinearFitting
from convsurgeon.families.regression.gathering import collect
from convsurgeon.families.regression.linear_algebra import factor, factor_each, solve_right, solve_right_each
from convsurgeon.families.regression.linear_site import LinearSite
from convsurgeon.families.regression.moments import Linear, Moments
from convsurgeon.families.regression.samples import SiteData
from convsurgeon.families.torch_convs import conv_shape
from convsurgeon.transfer.capture import watch_first
from convsurgeon.transfer.fit import linear_of
from tests.transfer.sites import feature_maps, site_data

with seeded(0):
    CONV = nn.Conv2d(16, 24, 3, padding=1)
LINEAR = ("igc", "dgconv", "spatial", "tucker")


def site() -> LinearSite:
    """The convolution on forty images, every fifth held out."""
    x = feature_maps(40, 16)
    samples = site_data(CONV, x).samples(144, 0, held_out=True)
    return LinearSite.of(collect(samples, conv_shape(CONV), linear_of(CONV)), 1e-2, centred=True)


def specs_of(method: str) -> Sequence[Spec]:
    """All that a family offers for the convolution; of IGC the units whose sweeps are not interpolated."""
    specs = parse_method(method).under_target().specs(conv_shape(CONV), (10, 10), (10, 10))
    assert isinstance(specs, tuple)
    return [spec for spec in specs if method != "igc" or spec.kind == 1]


def damages(at: LinearSite, specs: Sequence[Spec]) -> Mapping[Spec, float]:
    """What each of one family's specs loses."""
    fitting = family_of(specs[0]).fitting()
    assert isinstance(fitting, LinearFitting)
    return fitting.damages(at, specs, conv_shape(CONV), 0)


def in_double(values: Moments | Linear) -> dict[str, torch.Tensor]:
    """The tensors of a record as float64."""
    found = {field.name: getattr(values, field.name) for field in fields(values)}
    return {name: value.double() for name, value in found.items() if isinstance(value, torch.Tensor)}


@pytest.mark.parametrize("method", LINEAR)
def test_damage_does_not_depend_on_what_is_measured_beside_it(method: str) -> None:
    """A candidate of fewer features, groups or ranks loses alone what it loses among all of its family.

    Of Spatial's units one is swept for all, and the others gain nearly the same.
    """
    at, specs = site(), specs_of(method)
    together = damages(at, specs)
    for spec in (specs[0], specs[len(specs) // 2], specs[-1]):
        alone, close = damages(at, [spec])[spec], 0.15 if method == "spatial" else 1e-3
        assert alone == pytest.approx(together[spec], rel=close, abs=1e-6), spec


@pytest.mark.parametrize("method", LINEAR)
def test_float32_tells_candidates_as_float64_does(method: str) -> None:
    """Rounding moves no candidate's damage by a thousandth."""
    at, specs = site(), specs_of(method)
    exact = LinearSite(
        original=replace(at.original, **in_double(at.original)),
        moments=replace(at.moments, **in_double(at.moments)),
        ridged=replace(at.ridged, **in_double(at.ridged)),
        held_u=at.held_u.double(),
        held_y=at.held_y.double(),
    )
    found, wanted = damages(at, specs), damages(exact, specs)
    assert at.held_u.dtype == torch.float32
    assert [found[spec] for spec in specs] == pytest.approx([wanted[spec] for spec in specs], rel=1e-3, abs=1e-6)


def test_groups_at_once_are_groups_one_by_one() -> None:
    """Each group's least squares is that of its own inputs and outputs."""
    at = site()
    parts = partitions(np.random.default_rng(0).random((24, 16)), 4, seed=0)[4]
    grouped = group_fit(parts, at.cross, at.ridged)
    for inputs, outputs, weights in zip(parts.inputs, parts.outputs, grouped.weights, strict=True):
        columns = (torch.from_numpy(inputs)[:, None] * 9 + torch.arange(9)).flatten()
        lower = factor(at.ridged.uu[columns][:, columns])
        wanted = solve_right(at.cross[torch.from_numpy(outputs)][:, columns], lower)
        assert torch.allclose(weights, wanted, rtol=1e-3, atol=1e-5)


def test_a_rank_deficient_one_of_many_is_factored_as_if_alone() -> None:
    """One matrix that has no plain Cholesky factor spoils none of the others."""
    full, flat = torch.eye(3).double() * 2, torch.ones(3, 3).double()
    lower = factor_each(torch.stack([full, flat]))
    assert torch.equal(lower[0], factor(full))
    assert torch.equal(lower[1], factor(flat))
    rows = torch.randn(2, 5, 3).double()
    assert torch.allclose(solve_right_each(rows, lower)[0], rows[0] / 2)


def test_one_pass_assesses_both_parts() -> None:
    """Fitted-on and held-out samples assessed together are each what they are by themselves."""
    x, unit = feature_maps(20, 16), nn.Conv2d(16, 24, 3, padding=1)
    data = SiteData.of([(part, CONV(part).detach()) for part in x.split(6)])
    with torch.no_grad():
        fitted, held = assess_both(unit, data.samples(144, 0, held_out=True))
        alone = assess(unit, data.samples(144, 0, held_out=True))
        outside = SiteData.of([(x[4::5], CONV(x[4::5]))])
        judged = assess(unit, outside.samples(144, 0))
    for name in ("mean", "variance_found", "covariance"):
        assert torch.allclose(getattr(fitted, name), getattr(alone, name))
        assert torch.allclose(getattr(held, name), getattr(judged, name))


def test_no_swap_of_partners_is_left_that_gains() -> None:
    """After the pairing no two pairs would do better with each other's outputs, whichever swaps came before."""
    random = np.random.default_rng(5)
    features = random.standard_normal((60, 5))
    gain = np.square(features @ features.T) * (1 + random.random((60, 60)))
    sources, derived = best_pairs(gain, 30)
    either = np.maximum(gain, gain.T)
    own = either[sources, derived]
    for p in range(30):
        for q in range(p):
            a, b, c, d = sources[p], derived[p], sources[q], derived[q]
            best = max(either[a, d] + either[c, b], either[a, c] + either[b, d])
            assert best <= own[p] + own[q] + 1e-9


def test_a_pass_ends_with_the_last_call_that_is_wanted() -> None:
    """Watched modules are read as often as asked, what comes after them does not run, and nothing runs for no call."""
    first, second, last = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
    model = nn.Sequential(first, second, first, last)
    ran: list[str] = []
    last.register_forward_hook(lambda *_: ran.append("last"))
    inputs = as_inputs(torch.randn(1, 2))
    seen: list[str] = []
    watchers = {"0": lambda x, y: seen.append("0"), "1": lambda x, y: seen.append("1")}
    watch_first(model, watchers, {"0": 2, "1": 1}, inputs)
    assert (seen, ran) == (["0", "1", "0"], [])
    watch_first(model, watchers, {"0": 1, "1": 0}, inputs)
    assert seen == ["0", "1", "0", "0"]
    watch_first(model, watchers, {"0": 0, "1": 0}, inputs)
    assert len(seen) == 4
