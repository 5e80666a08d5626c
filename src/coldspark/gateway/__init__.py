"""The hot path and the doors."""
