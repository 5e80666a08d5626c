"""Coldspark's own door: the REST API under ``/v1`` and ``/invoke``."""
