"""Encoders at work: plans, sessions, trials, first passes, and why an encoder refuses."""
