"""What all tests share."""

import os
import signal

# Workers side by side, each with torch threads for all cores, would starve one another. Before torch is loaded.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Before any test loads torch: the package has torch's threads wait without spinning, beside the encoders of the tests.
import scene  # noqa: F401

# A shell starts jobs in the background with SIGINT ignored, and their children would ignore it too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
