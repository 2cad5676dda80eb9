"""Properties draw the same examples everywhere, and no test fails for being slow."""

from hypothesis import settings

settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")
