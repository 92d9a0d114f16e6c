"""What `scene bench` prints of its measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scene.benchmarks.cost import Cost
    from scene.benchmarks.encode import EncodeBenchmark
    from scene.benchmarks.enhance import EnhanceSpeed
    from scene.benchmarks.runtimes import RuntimeBenchmark
    from scene.benchmarks.training import TrainingBenchmark


def print_runtimes(result: RuntimeBenchmark) -> None:
    """The measurements, and what will be used from now on."""
    peaks = ", ".join(f"{name} {flops / 1e9:.0f} GFLOP/s" for name, flops in result.peaks.items())
    print(f"{result.width}x{result.height}, {result.threads} threads; a large matrix product: {peaks}")
    print("model                     runtime             ms  of product's %  codes apart")
    for speed in result.speeds:
        share = 100 * speed.peak_share
        print(f"{speed.model:24}  {speed.runtime:14}  {speed.ms:6.1f}  {share:14.0f}  {speed.apart:11.2f}")
    for name, why in result.missing.items():
        print(f"{name} was left out: {why}")
    for model, name in result.fastest.items():
        print(f"{model}: `runtime` auto is {name} from now on ({result.remembered})")


def print_enhance(speeds: Sequence[EnhanceSpeed]) -> None:
    """A line for each model and size: processor time of the stages, and frames a second."""
    print("                                            processor time a frame, ms              frames/s")
    print("model                     size        copy  filter along motion   model   whole   model   whole")
    for speed in speeds:
        temporal = "-" if speed.temporal is None else f"{speed.temporal.cpu_ms:.1f}"
        print(
            f"{speed.model:24}  {f'{speed.width}x{speed.height}':9}  {speed.copy_ms:5.2f}  {temporal:>19}"
            f"  {speed.model_alone.cpu_ms:6.1f}  {speed.whole.cpu_ms:6.1f}"
            f"  {speed.model_alone.fps:6.1f}  {speed.whole.fps:6.1f}"
        )


def print_cost(costs: Sequence[Cost]) -> None:
    """A table, a way to encode in a line."""
    from scene.evaluation.report.markdown import markdown_lines
    from scene.metrics.scores import METRICS

    titles = {metric.name: metric.title for metric in METRICS}
    shown = list(costs[0].percent) if costs else []
    rows = [["Against", "Encoder", "Before it", "ms a frame", "times", *(titles[name] for name in shown)]]
    for cost in costs:
        percents = ("N/A" if cost.percent[name] is None else f"{cost.percent[name]:+.1f}" for name in shown)
        rows.append([cost.anchor, cost.codec, cost.method, f"{1000 * cost.cpu_s:.1f}", f"{cost.ratio:.2f}", *percents])
    print("\n".join(markdown_lines(rows, words=3)))


def print_encode(result: EncodeBenchmark) -> None:
    """A line for each size of picture."""
    print(
        f"{result.codec} {result.preset}, CRF {result.crf:g}; {result.model} on {result.device},"
        f" {result.threads} threads; {result.frames} frames, medians of {result.turns}"
    )
    print("size       frames/s  with model   ratio  start s  with model  memory MB  with model")
    for size in result.sizes:
        plain, made = size.plain, size.enhanced
        print(
            f"{f'{size.width}x{size.height}':9}  {plain.fps:8.1f}  {made.fps:10.1f}  {size.ratio:6.3f}"
            f"  {plain.start_s:7.1f}  {made.start_s:10.1f}  {plain.memory / 1e6:9.0f}  {made.memory / 1e6:10.0f}"
        )


def print_training(result: TrainingBenchmark) -> None:
    """The speed, and a table of where the time goes."""
    from rich.console import Console
    from rich.table import Table

    parts = Table(box=None)
    parts.add_column("part")
    for column in ("forward ms", "backward ms", "share %"):
        parts.add_column(column, justify="right")
    for part in result.parts:
        milliseconds = (f"{1000 * s:.1f}" for s in (part.forward_s, part.backward_s))
        parts.add_row(part.name, *milliseconds, f"{100 * part.share:.1f}")
    limit, loader = result.limit, result.loader
    # As wide as it needs: on a narrow terminal rich would cut names.
    console = Console(soft_wrap=True, highlight=False, width=200)
    console.print(
        f"{result.patches_per_second:.1f} patches/s"
        f" ({result.batch} x {result.crop} x {result.crop}, {result.precision}, {result.device})"
    )
    console.print(
        f"step: median {1000 * result.step_s:.1f} ms, {result.steps} in {result.total_s:.1f} s;"
        f" instrumented: median {1000 * result.instrumented_step_s:.1f} ms, {100 * result.overhead:+.1f} % in total"
    )
    console.print(
        f"loader alone: {loader.samples_per_second:.1f} samples/s, {100 * loader.first_seen:.0f} % seen first"
        f" ({100 * result.first_seen:.0f} % in the steps), workers: {result.workers}"
    )
    console.print(
        f"network alone: {1000 * limit.network_s:.1f} ms, {limit.ratio:.2f} times plain convolutions of its shapes"
        f" ({1000 * limit.convolutions_s:.1f} ms, {limit.patches_per_second:.1f} patches/s,"
        f" {limit.gmac_per_patch:.3f} GMAC a patch forward)"
    )
    console.print(parts)
