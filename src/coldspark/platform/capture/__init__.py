"""Capture of requests and replies: which, as what, and where."""
