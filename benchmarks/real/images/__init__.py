"""Networks that read photographs, and the photographs."""
