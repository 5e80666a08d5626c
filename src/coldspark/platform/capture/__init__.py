"""Requests and replies that are written down: which, as what, and where."""
