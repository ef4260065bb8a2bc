"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# CI tries the same examples each time: its answer speaks of the change alone. Everywhere else new ones are tried.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
