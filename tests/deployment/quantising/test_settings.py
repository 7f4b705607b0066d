"""The floor of an int8 file, as typed."""

from __future__ import annotations

import pytest

from convsurgeon.base.errors import TargetError
from convsurgeon.deployment.quantising.settings import least_agreement


@pytest.mark.parametrize(("text", "share"), [("agreement=99%", 0.99), (" agreement = 97.5 % ", 0.975)])
def test_a_share_is_read(text: str, share: float) -> None:
    """A percentage behind the word is a share."""
    assert least_agreement(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["agreement=0%", "agreement=101%", "agreement=0.99", "top1=-0.5", "99%", ""])
def test_what_is_no_share_of_agreement_is_refused(text: str) -> None:
    """Anything else is refused with the form that is expected."""
    with pytest.raises(TargetError, match=r"expected agreement=99%"):
        least_agreement(text)
