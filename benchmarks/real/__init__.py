"""Networks that others trained, with weights that come inside public packages: what conversions keep of their task."""
