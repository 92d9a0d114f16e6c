"""What all tests share."""

import signal

# Before any test loads torch: the package has torch's threads wait without spinning, beside the encoders of the tests.
import scene  # noqa: F401

# A shell starts jobs in the background with SIGINT ignored, and their children would ignore it too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
