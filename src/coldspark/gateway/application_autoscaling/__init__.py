"""Application Auto Scaling: what callers say of scalable targets, in AWS's words."""
