"""What a model holds, as plain data: its convolutions, where they stand, what they cost."""
