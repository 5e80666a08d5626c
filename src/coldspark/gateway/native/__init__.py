"""Coldspark's own door: the REST API that the SDK, the command line and curl speak."""
