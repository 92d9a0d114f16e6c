"""The slides of an evaluation: every method at the bitrate of the codec alone, drawn where they differ most."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from scene.evaluation.report.results import Report
from scene.evaluation.visuals.builder import Workshop
from scene.evaluation.visuals.cache import load_slide, store_slide
from scene.evaluation.visuals.plan import plan_slides
from scene.evaluation.visuals.view import Slide
from scene.measure.cache import PointCache
from scene.measure.workspace import workspace
from scene.progress import OnProgress, Progress, silent
from scene.video.ffmpeg import FFmpeg

_log = logging.getLogger(__name__)


def make_slides(
    report: Report,
    ffmpeg: FFmpeg,
    *,
    cache: PointCache,
    device: str = "auto",
    jobs: int = 1,
    on_progress: OnProgress = silent,
) -> list[Slide]:
    """Makes a slide of every clip and codec, 24 at most; slides made before are taken from the cache.

    The codec alone is shown at its measured point with a VMAF closest to 75, every method at the CRF that gives the
    same bitrate. The frame and the detail are those where the codec alone and the last network (without one, the last
    method) differ most. A slide that cannot be made is logged and left out.

    Args:
        report: of a measured grid.
        cache: where slides are kept.
        device: for networks.
        jobs: how many encodes to run side by side.

    Raises:
        StoppedError: the work was given up.
        SceneError: the cache cannot be written to.
    """
    # Giving up here must not stop whatever else the caller runs.
    ffmpeg = replace(ffmpeg, stop=threading.Event())
    plans = plan_slides(report, ffmpeg)
    pairs = len(report.grid.clips) * len(report.grid.codecs)
    if pairs > len(plans):
        _log.info("the report shows %d of %d pairs of clip and codec", len(plans), pairs)
    slides = {index: slide for index, plan in enumerate(plans) if (slide := load_slide(cache, plan.key)) is not None}
    cached, lost = len(slides), 0

    def tell() -> None:
        on_progress(Progress(len(slides) + lost, len(plans), {"cached": cached}))

    tell()
    for clip in report.grid.clips:
        missing = [index for index, plan in enumerate(plans) if plan.clip is clip and index not in slides]
        if not missing:
            continue
        with workspace() as folder, _workers(ffmpeg, jobs) as pool:
            workshop = Workshop(ffmpeg, report.grid.recipe, pool, jobs, device, folder)
            for index, slide in zip(missing, workshop.make([plans[i] for i in missing]), strict=True):
                if slide is None:
                    lost += 1
                else:
                    store_slide(cache, plans[index].key, slide)
                    slides[index] = slide
                tell()
    return [slides[index] for index in sorted(slides)]


@contextmanager
def _workers(ffmpeg: FFmpeg, jobs: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that are done at the end; on the way out of an error or an interruption their programs are killed."""
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="slide")
    try:
        yield pool
    except BaseException:
        ffmpeg.stop.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
