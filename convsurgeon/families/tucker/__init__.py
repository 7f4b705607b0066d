"""Tucker: a 1×1 convolution, a thin k×k one, a 1×1 again."""
