"""Spatial: a k×1 convolution, then a 1×k one."""
