"""What int8 costs and saves, before and after surgery."""
