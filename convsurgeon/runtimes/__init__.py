"""What a network can run in, and the clock."""
