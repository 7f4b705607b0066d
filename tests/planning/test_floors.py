"""Floors: which words are read how, and which are refused."""

from __future__ import annotations

import pytest

from convsurgeon import Floor, Recipe
from convsurgeon.base.errors import TargetError
from convsurgeon.planning.floors import counted_agreement, parse_floors


@pytest.mark.parametrize(
    ("text", "measure", "limit"),
    [
        ("agreement=99%", "agreement", 0.99),
        ("top1=-0.5", "difference", -0.005),
        ("top1 = -0.5 points", "difference", -0.005),
        ("TOP1=75%", "top1", 0.75),
        ("output-error=1%", "output-error", 0.01),
        ("output_error=1 %", "output-error", 0.01),
    ],
)
def test_a_floor_is_read(text: str, measure: str, limit: float) -> None:
    """Each form gives its measure and its limit as a share, and keeps its text."""
    (floor,) = parse_floors(text)
    assert (floor.text, floor.measure, floor.limit) == (text, measure, pytest.approx(limit))


@pytest.mark.parametrize(
    "text", ["agreement", "agreement=0.99", "agreement=-1%", "top1=0.5", "top1=-0.5%", "accuracy=99%", "macs=50%", ""]
)
def test_what_is_no_floor_is_refused_with_the_forms(text: str) -> None:
    """The message shows every form."""
    with pytest.raises(TargetError, match=r"agreement=99%.*top1=-0\.5.*output-error=1%"):
        parse_floors(text)


@pytest.mark.parametrize(("text", "shown"), [("agreement=100%", "agreement=99.9%"), ("top1=-0", "top1=-0.1")])
def test_what_no_number_of_inputs_shows_is_refused(text: str, shown: str) -> None:
    """A share of all, or no loss at all, can't be shown; a little less can."""
    with pytest.raises(TargetError, match="no number of inputs can show"):
        parse_floors(text)
    assert parse_floors(shown)


@pytest.mark.parametrize(
    ("given", "share"),
    [
        ("agreement=99%", 0.99),
        (" agreement = 97.5 % ", 0.975),
        ("agreement=100%", 1.0),
        (Floor("agreement=99%", "agreement", 0.99), 0.99),
    ],
)
def test_a_counted_share_may_be_all(given: str | Floor, share: float) -> None:
    """Where nothing has to be shown the same words are read, and all of the inputs may be asked for."""
    assert counted_agreement(given) == pytest.approx(share)


@pytest.mark.parametrize("text", ["agreement=0%", "agreement=101%", "agreement=0.99", "top1=-0.5", "99%", "", 0.99])
def test_what_is_no_counted_share_is_refused(text: str) -> None:
    """Anything else, other measures too, is refused with the form that is expected."""
    with pytest.raises(TargetError, match="expected agreement=99%, above 0 % and at most 100 %"):
        counted_agreement(text)


def test_a_function_needs_a_limit() -> None:
    """Alone it is refused; with one it is a floor that has the function's name."""

    def mean_iou(model: object) -> float:
        return 0.5

    with pytest.raises(TargetError, match=r"Floor\.of_score"):
        parse_floors(mean_iou)  # type: ignore[arg-type]
    (floor,) = parse_floors(Floor.of_score(mean_iou, 0.4))
    assert (floor.text, floor.limit, floor.score) == ("mean_iou=0.4", 0.4, mean_iou)


def test_a_recipe_writes_floors_as_they_were_typed() -> None:
    """A floor survives the way through a recipe's JSON."""
    recipe = Recipe(at_least=("agreement=99%", "top1=-1"))
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
