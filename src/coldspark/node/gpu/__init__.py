"""GPUs of this machine: found, shared, and their memory released while a replica is parked."""
