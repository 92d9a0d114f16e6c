"""What all tests share."""

import signal

# A shell starts jobs in the background with SIGINT ignored, and their children would ignore it too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
