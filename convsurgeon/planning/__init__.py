"""The choice: rules narrow it, a solver meets the targets, a plan records it."""
