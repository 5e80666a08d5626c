"""CloudWatch Logs: what replicas printed, and what callers put there themselves."""
