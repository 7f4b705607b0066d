"""Exit codes that no error class carries (see ``convsurgeon.base.errors``)."""

__all__ = ["INTERNAL_ERROR", "INTERRUPTED"]

INTERNAL_ERROR = 70
INTERRUPTED = 130
