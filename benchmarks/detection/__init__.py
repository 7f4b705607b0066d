"""Average precision of a detector before and after conversion and recovery; see ``run``."""
