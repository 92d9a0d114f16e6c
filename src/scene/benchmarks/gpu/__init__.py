"""What a GPU makes of SCENE: its own limits, the network in every form, the whole enhancement, SigLIP 2, training.

Not run on a GPU yet. On a CPU the same code measures what needs none.
"""

from scene.benchmarks.gpu.run import GpuBenchmark, bench_gpu

__all__ = ["GpuBenchmark", "bench_gpu"]
