"""What a converted network goes on to: lowered, exported, timed beside its original."""
