"""Benchmarks: ``make bench`` runs them, alone on the machine."""
