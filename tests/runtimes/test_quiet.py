"""Quiet around other libraries."""

from __future__ import annotations

import logging
import warnings

import pytest

from convsurgeon.runtimes.quiet import quiet


def test_warnings_are_kept_back_inside_only(caplog: pytest.LogCaptureFixture) -> None:
    """Warnings of both kinds are silent inside and heard behind it, also after an error; errors are always heard."""
    logger = logging.getLogger("some.library")

    def work() -> None:
        logger.warning("inside")
        logger.error("broken")
        warnings.warn("inside", stacklevel=1)
        raise ValueError("theirs")

    with pytest.raises(ValueError, match="theirs"), quiet():
        work()
    logger.warning("behind")
    with pytest.warns(UserWarning, match="behind"):
        warnings.warn("behind", stacklevel=1)
    assert [record.getMessage() for record in caplog.records] == ["broken", "behind"]
