"""Queries of CloudWatch Logs Insights: a subset of the language, read here and run here."""
