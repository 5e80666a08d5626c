"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# Speed is judged by benchmarks: an example that takes long on a busy machine is no failure.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
