"""Inference components: variants of an endpoint that share its GPUs."""
