"""Surgery: (model, plan) → a new model, and the check that it is the planned one."""
