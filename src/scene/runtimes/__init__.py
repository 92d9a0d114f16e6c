"""What computes a network: torch or OpenVINO, in float32 or bfloat16."""

from scene.runtimes.choice import RUNTIMES, Compute, fastest_runtime, open_runtime, remember_fastest, settled_runtime

__all__ = ["RUNTIMES", "Compute", "fastest_runtime", "open_runtime", "remember_fastest", "settled_runtime"]
