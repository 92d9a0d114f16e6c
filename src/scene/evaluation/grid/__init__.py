"""The rate-distortion grid: what is measured, and where."""
