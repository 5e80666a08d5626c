"""Coldspark beside its peers: the same workers, the same load, the same core."""
