"""Side-by-side pictures: every method at the bitrate of the codec alone, drawn where they differ most."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from scene.errors import SceneError
from scene.evaluation.grid.focus import make_maps, told
from scene.evaluation.grid.grid import Grid
from scene.evaluation.grid.methods import Method
from scene.evaluation.grid.variant import make_variant
from scene.evaluation.report.results import Report
from scene.evaluation.visuals.draw import View, caption, draw
from scene.evaluation.visuals.plan import PlannedView, SideBySidePlan, plan_side_by_sides
from scene.evaluation.visuals.side_by_side import SideBySide, load_side_by_side, store_side_by_side
from scene.measure.cache import PointCache
from scene.measure.clip import Clip, make_reference
from scene.measure.point import compare, decode_arguments
from scene.measure.raw_video import RawVideo, count_raw_video
from scene.measure.workspace import workspace
from scene.metrics.scores import Scores
from scene.progress import OnProgress, Progress, silent
from scene.video.encoding.isolated import encode_isolated
from scene.video.encoding.regions import EncoderFocus
from scene.video.ffmpeg import FFmpeg, StoppedError

_log = logging.getLogger(__name__)


def make_side_by_sides(
    report: Report,
    ffmpeg: FFmpeg,
    *,
    cache: PointCache,
    device: str = "auto",
    jobs: int = 1,
    on_progress: OnProgress = silent,
) -> list[SideBySide]:
    """One side-by-side picture of every clip and codec, 24 at most; those made before are taken from the cache.

    The codec alone is shown at its measured point with a VMAF closest to 75, every method at the CRF that gives the
    same bitrate. The frame and the detail are those where the codec alone and the last network (without one, the last
    method) differ most; eight of them move. A side-by-side picture that cannot be made is logged and left out.

    Args:
        report: of a measured grid.
        cache: where side-by-side pictures are kept.
        device: for networks.
        jobs: how many encodes to run side by side.

    Raises:
        StoppedError: the work was given up.
        SceneError: the cache cannot be written to.
    """
    # Giving up here must not stop whatever else the caller runs.
    ffmpeg = replace(ffmpeg, stop=threading.Event())
    plans = plan_side_by_sides(report, ffmpeg)
    pairs = len(report.grid.clips) * len(report.grid.codecs)
    if pairs > len(plans):
        _log.info("the report shows %d of %d pairs of clip and codec", len(plans), pairs)
    side_by_sides = {
        index: side_by_side
        for index, plan in enumerate(plans)
        if (side_by_side := load_side_by_side(cache, plan.key)) is not None
    }
    cached, lost = len(side_by_sides), 0

    def report_progress() -> None:
        on_progress(Progress(len(side_by_sides) + lost, len(plans), {"cached": cached}))

    report_progress()
    for clip in report.grid.clips:
        missing = [index for index, plan in enumerate(plans) if plan.clip is clip and index not in side_by_sides]
        if not missing:
            continue
        with workspace() as folder, _workers(ffmpeg, jobs) as pool:
            builder = ComparisonBuilder(ffmpeg, report.grid, pool, jobs, device, folder)
            for index, side_by_side in zip(missing, builder.make([plans[i] for i in missing]), strict=True):
                if side_by_side is None:
                    lost += 1
                else:
                    store_side_by_side(cache, plans[index].key, side_by_side)
                    side_by_sides[index] = side_by_side
                report_progress()
    return [side_by_sides[index] for index in sorted(side_by_sides)]


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


_log = logging.getLogger(__name__)

_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True)
class _Encode:
    crf: float
    stream: Path
    bytes: int
    scores: Scores


@dataclass(slots=True)
class _Draft:
    """A side-by-side picture while it is made; `reason` says why there will be none."""

    plan: SideBySidePlan
    folder: Path
    encodes: dict[str, _Encode] = field(default_factory=dict)
    reason: str = ""


class ComparisonBuilder:
    """Makes the side-by-side pictures of one clip.

    The reference and one variant at a time are on the disk; one for each
    picture of a quantiser-conditioned network.
    """

    def __init__(
        self, ffmpeg: FFmpeg, grid: Grid, pool: ThreadPoolExecutor, jobs: int, device: str, folder: Path
    ) -> None:
        self.grid = grid
        self.ffmpeg = ffmpeg
        self.pool = pool
        self.threads = max(1, (os.cpu_count() or 1) // jobs)
        self.device = device
        self.folder = folder

    def make(self, plans: Sequence[SideBySidePlan]) -> list[SideBySide | None]:
        """The side-by-side pictures, None for what could not be made."""
        unfinished = []
        for number, plan in enumerate(plans):
            folder = self.folder / str(number)
            folder.mkdir()
            unfinished.append(_Draft(plan, folder))
        clip = plans[0].clip
        place = f"{clip.name}: no side-by-side picture"
        try:
            reference = make_reference(self.ffmpeg, clip, self.grid.recipe, self.folder / "reference.y4m")
        except StoppedError:
            raise
        except (SceneError, OSError) as error:
            _log.warning("%s (%s)", place, error)
            return [None] * len(plans)
        methods = {id(view.method): view.method for plan in plans for view in plan.views}
        for method in methods.values():
            self._encode_all(unfinished, method, reference)
        return [self._finish(draft, reference) for draft in unfinished]

    def _encode_all(self, unfinished: Sequence[_Draft], method: Method, reference: RawVideo) -> None:
        """Encodes one method for all that show it, each at the step of its CRF where that changes pictures."""
        wanted = [(draft, view) for draft in unfinished for view in draft.plan.views if view.method is method]
        wanted = [(draft, view) for draft, view in wanted if not draft.reason]
        if not wanted:
            return
        shared: RawVideo | None = None
        maps: Path | None = None
        if not method.conditioned or method.focus is not None:
            clip = wanted[0][0].plan.clip
            mask = self.grid.masks.get(clip.sha256)
            try:
                maps = make_maps(
                    *(self.ffmpeg, method.focus, clip, mask, self.grid.recipe, reference, self.folder / "maps.y4m")
                )
                if not method.conditioned:
                    shared = make_variant(
                        *(self.ffmpeg, method, reference, self.folder / "variant.y4m"), device=self.device, maps=maps
                    )
            except StoppedError:
                raise
            except (SceneError, OSError) as error:
                for draft, _ in wanted:
                    draft.reason = str(error)
                return

        def encode(draft: _Draft, view: PlannedView) -> None:
            own = draft.folder / "variant.y4m"

            def pictures(crf: float) -> RawVideo:
                if shared is not None:
                    return shared
                step = method.step(draft.plan.run.codec.name, crf)
                return make_variant(self.ffmpeg, method, reference, own, step=step, device=self.device, maps=maps)

            focus = told(method.focus, maps)
            _attempt(draft, lambda: self._encode(draft, view, reference, pictures, focus))
            own.unlink(missing_ok=True)

        for future in [self.pool.submit(encode, draft, view) for draft, view in wanted]:
            future.result()
        for name in ("variant.y4m", "maps.y4m"):
            (self.folder / name).unlink(missing_ok=True)

    def _encode(
        self,
        draft: _Draft,
        view: PlannedView,
        reference: RawVideo,
        pictures: Callable[[float], RawVideo],
        focus: EncoderFocus | None,
    ) -> None:
        """Encodes at the anchor's rate, a second time if the first is more than 5 % off, and scores it.

        Args:
            pictures: gives what is encoded at a CRF.
            focus: what the encoder is told.
        """
        plan, crf = draft.plan, view.crf
        anchor = draft.encodes.get(plan.views[0].method.label)
        size, stream = self._run_encoder(draft, view, pictures(crf), crf, focus)
        if anchor is not None and abs(size / anchor.bytes - 1) > _TOLERANCE:
            target = _kbps(anchor.bytes, reference, plan.clip)
            better = plan.crf_at_rate(view, target * anchor.bytes / size)
            if better != crf:
                crf = better
                size, stream = self._run_encoder(draft, view, pictures(crf), crf, focus)
        known = [point.measurement for point in view.curve if point.crf == crf]
        if known:
            scores = known[0].scores
        else:
            with tempfile.TemporaryDirectory(dir=draft.folder, ignore_cleanup_errors=True) as name:
                scores = compare(self.ffmpeg, stream, reference, folder=Path(name), threads=self.threads).scores
        draft.encodes[view.method.label] = _Encode(crf, stream, size, scores)

    def _run_encoder(
        self, draft: _Draft, view: PlannedView, processed: RawVideo, crf: float, focus: EncoderFocus | None
    ) -> tuple[int, Path]:
        plan = draft.plan
        stream = draft.folder / f"{len(draft.encodes)}.{plan.run.codec.raw_muxer}"
        encode_isolated(processed.path, stream, plan.settings(view, crf), self.ffmpeg.stop, focus)
        return stream.stat().st_size, stream

    def _finish(self, draft: _Draft, reference: RawVideo) -> SideBySide | None:
        """The side-by-side picture of all its encodes."""
        plan = draft.plan
        drawn: list[SideBySide] = []
        if not draft.reason:
            _attempt(draft, lambda: drawn.append(self._draw(draft, reference)))
        shutil.rmtree(draft.folder, ignore_errors=True)
        if not drawn:
            _log.warning("%s, %s: no side-by-side picture (%s)", plan.clip.name, plan.run.codec.name, draft.reason)
        return drawn[0] if drawn else None

    def _draw(self, draft: _Draft, reference: RawVideo) -> SideBySide:
        plan = draft.plan
        views = [View("source", "the unprocessed source", lambda _: reference)]
        for view in plan.views:
            encode = draft.encodes[view.method.label]
            said = caption(
                f"{plan.run.codec.name} {plan.run.codec.quality_name} {encode.crf:g}",
                _kbps(encode.bytes, reference, plan.clip),
                encode.scores,
            )
            views.append(View(view.method.label, said, self._decoder(encode.stream, reference)))
        networks = [number for number, view in enumerate(plan.views) if view.method.network is not None]
        main = (networks or [len(plan.views) - 1])[-1]
        # Of the codec alone, there is only the source to tell it from.
        pair = (1, main + 1) if main else (0, 1)
        names = {"clip": plan.clip.name, "codec": plan.run.codec.name, "note": _note(draft)}
        rate = plan.clip.rate if plan.moving else None
        return draw(self.ffmpeg, views, pair, draft.folder, rate=rate, **names)

    def _decoder(self, stream: Path, reference: RawVideo) -> Callable[[Path], RawVideo]:
        fmt = reference.header.format

        def decode(folder: Path) -> RawVideo:
            raw = folder / "decoded.y4m"
            self.ffmpeg.run(decode_arguments(stream, raw, fmt))
            return count_raw_video(raw, fmt.matrix)

        return decode


def _attempt(draft: _Draft, work: Callable[[], None]) -> None:
    """Does a part of a side-by-side's work; a failure is the side-by-side picture's and nobody else's."""
    try:
        work()
    except StoppedError:
        raise
    except (SceneError, OSError) as error:
        draft.reason = draft.reason or str(error)


def _note(draft: _Draft) -> str:
    """Which methods missed the rate, and by how much."""
    labels = [view.method.label for view in draft.plan.views]
    anchor = draft.encodes[labels[0]].bytes
    off = {label: draft.encodes[label].bytes / anchor - 1 for label in labels}
    missed = [f"{label} has {100 * share:+.0f} % bitrate" for label, share in off.items() if abs(share) > _TOLERANCE]
    return "; ".join(missed)


def _kbps(size: int, reference: RawVideo, clip: Clip) -> float:
    return float(size * 8 * clip.rate / reference.frames / 1000)
