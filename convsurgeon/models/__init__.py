"""From a model's name to a model, its weights and example inputs."""
