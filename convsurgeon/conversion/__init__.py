"""The verbs, step by step: survey → plan → surgery → weights → verify → report."""
