"""The encoders: what each is, can do and refuses, and frames in, packets out."""
