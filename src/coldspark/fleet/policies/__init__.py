"""The scaling rules: each decides how many replicas there should be, and why. Pure functions.

``evaluation`` is the registry: it knows each rule of ``spec.scaling_rules`` and its function.
"""
