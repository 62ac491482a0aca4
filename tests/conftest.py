"""For all tests: a Ray has time to start on a busy machine."""

import os

os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")
