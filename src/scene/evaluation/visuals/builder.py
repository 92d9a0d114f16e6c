"""Making the slides of one clip: encode every method at one rate, decode, draw."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from scene.errors import SceneError
from scene.evaluation.grid.methods import Method
from scene.evaluation.grid.variant import make_variant
from scene.evaluation.visuals.draw import Drawing, Version, caption, draw
from scene.evaluation.visuals.plan import Shot, SlidePlan
from scene.evaluation.visuals.view import Slide
from scene.measure.clip import Clip, Recipe, make_reference
from scene.measure.point import compare, decode_arguments
from scene.measure.raw_video import RawVideo, count_raw_video
from scene.metrics.scores import Scores
from scene.video.encoders.elementary_stream import MUXERS
from scene.video.encoders.encoder_process import encode_isolated
from scene.video.ffmpeg import FFmpeg, StoppedError

_log = logging.getLogger(__name__)

_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True)
class _Encode:
    crf: float
    stream: Path
    bytes: int
    scores: Scores


@dataclass(slots=True)
class _Desk:
    """A slide while it is made; `reason` says why there will be none."""

    plan: SlidePlan
    folder: Path
    encodes: dict[str, _Encode] = field(default_factory=dict)
    reason: str = ""


class Workshop:
    """Makes the slides of one clip.

    The reference and one variant at a time are on the disk; one for each slide of a network that is told the quantiser.
    """

    def __init__(
        self, ffmpeg: FFmpeg, recipe: Recipe, pool: ThreadPoolExecutor, jobs: int, device: str, folder: Path
    ) -> None:
        self.recipe = recipe
        self.ffmpeg = ffmpeg
        self.pool = pool
        self.threads = max(1, (os.cpu_count() or 1) // jobs)
        self.device = device
        self.folder = folder

    def make(self, plans: Sequence[SlidePlan]) -> list[Slide | None]:
        """The slides, None for what could not be made."""
        desks = []
        for number, plan in enumerate(plans):
            folder = self.folder / str(number)
            folder.mkdir()
            desks.append(_Desk(plan, folder))
        clip = plans[0].clip
        place = f"{clip.name}: no slide"
        try:
            reference = make_reference(self.ffmpeg, clip, self.recipe, self.folder / "reference.y4m")
        except StoppedError:
            raise
        except (SceneError, OSError) as error:
            _log.warning("%s (%s)", place, error)
            return [None] * len(plans)
        methods = {id(shot.method): shot.method for plan in plans for shot in plan.shots}
        for method in methods.values():
            self._encode_all(desks, method, reference)
        return [self._finish(desk, reference) for desk in desks]

    def _encode_all(self, desks: Sequence[_Desk], method: Method, reference: RawVideo) -> None:
        """Encodes one method for every slide that shows it, each at the step of its CRF where that changes pictures."""
        wanted = [(desk, shot) for desk in desks for shot in desk.plan.shots if shot.method is method]
        wanted = [(desk, shot) for desk, shot in wanted if not desk.reason]
        if not wanted:
            return
        shared: RawVideo | None = None
        if not method.conditioned:
            try:
                shared = make_variant(
                    *(self.ffmpeg, method, reference, self.folder / "variant.y4m"), device=self.device
                )
            except StoppedError:
                raise
            except (SceneError, OSError) as error:
                for desk, _ in wanted:
                    desk.reason = str(error)
                return

        def encode(desk: _Desk, shot: Shot) -> None:
            own = desk.folder / "variant.y4m"

            def pictures(crf: float) -> RawVideo:
                if shared is not None:
                    return shared
                step = method.step(desk.plan.run.codec.name, crf)
                return make_variant(self.ffmpeg, method, reference, own, step=step, device=self.device)

            _attempt(desk, lambda: self._encode(desk, shot, reference, pictures))
            own.unlink(missing_ok=True)

        for future in [self.pool.submit(encode, desk, shot) for desk, shot in wanted]:
            future.result()
        (self.folder / "variant.y4m").unlink(missing_ok=True)

    def _encode(self, desk: _Desk, shot: Shot, reference: RawVideo, pictures: Callable[[float], RawVideo]) -> None:
        """Encodes at the anchor's rate, a second time if the first is more than 5 % off, and scores it.

        Args:
            pictures: gives what is encoded at a CRF.
        """
        plan, crf = desk.plan, shot.crf
        anchor = desk.encodes.get(plan.shots[0].method.label)
        size, stream = self._run_encoder(desk, shot, pictures(crf), crf)
        if anchor is not None and abs(size / anchor.bytes - 1) > _TOLERANCE:
            target = _kbps(anchor.bytes, reference, plan.clip)
            better = plan.crf_at_rate(shot, target * anchor.bytes / size)
            if better != crf:
                crf = better
                size, stream = self._run_encoder(desk, shot, pictures(crf), crf)
        known = [point.measurement for point in shot.curve if point.crf == crf]
        if known:
            scores = known[0].scores
        else:
            with tempfile.TemporaryDirectory(dir=desk.folder, ignore_cleanup_errors=True) as name:
                scores = compare(self.ffmpeg, stream, reference, folder=Path(name), threads=self.threads).scores
        desk.encodes[shot.method.label] = _Encode(crf, stream, size, scores)

    def _run_encoder(self, desk: _Desk, shot: Shot, processed: RawVideo, crf: float) -> tuple[int, Path]:
        plan = desk.plan
        stream = desk.folder / f"{len(desk.encodes)}.{MUXERS[plan.run.codec.name]}"
        encode_isolated(processed.path, stream, plan.settings(shot, crf), self.ffmpeg.stop)
        return stream.stat().st_size, stream

    def _finish(self, desk: _Desk, reference: RawVideo) -> Slide | None:
        """The slide of all its encodes."""
        plan = desk.plan
        drawings: list[Drawing] = []
        if not desk.reason:
            _attempt(desk, lambda: drawings.append(self._draw(desk, reference)))
        shutil.rmtree(desk.folder, ignore_errors=True)
        if not drawings:
            _log.warning("%s, %s: no slide (%s)", plan.clip.name, plan.run.codec.name, desk.reason)
            return None
        (drawn,) = drawings
        return Slide(
            *(plan.clip.name, plan.run.codec.name, drawn.frame, drawn.width, drawn.height, drawn.crop, drawn.panes),
            note=_note(desk),
        )

    def _draw(self, desk: _Desk, reference: RawVideo) -> Drawing:
        plan = desk.plan
        versions = [Version("source", "the unprocessed source", lambda _: reference)]
        for shot in plan.shots:
            encode = desk.encodes[shot.method.label]
            said = caption(
                f"{plan.run.codec.name} {plan.run.codec.quality} {encode.crf:g}",
                _kbps(encode.bytes, reference, plan.clip),
                encode.scores,
            )
            versions.append(Version(shot.method.label, said, self._decoder(encode.stream, reference)))
        networks = [number for number, shot in enumerate(plan.shots) if shot.method.network is not None]
        main = (networks or [len(plan.shots) - 1])[-1]
        # Of the codec alone, there is only the source to tell it from.
        return draw(self.ffmpeg, versions, (1, main + 1) if main else (0, 1), desk.folder)

    def _decoder(self, stream: Path, reference: RawVideo) -> Callable[[Path], RawVideo]:
        fmt = reference.header.format

        def decode(folder: Path) -> RawVideo:
            raw = folder / "decoded.y4m"
            self.ffmpeg.run(decode_arguments(stream, raw, fmt))
            return count_raw_video(raw, fmt.matrix)

        return decode


def _attempt(desk: _Desk, work: Callable[[], None]) -> None:
    """Does a part of a slide's work; a failure is the slide's and nobody else's."""
    try:
        work()
    except StoppedError:
        raise
    except (SceneError, OSError) as error:
        desk.reason = desk.reason or str(error)


def _note(desk: _Desk) -> str:
    """Which methods missed the rate, and by how much."""
    labels = [shot.method.label for shot in desk.plan.shots]
    anchor = desk.encodes[labels[0]].bytes
    off = {label: desk.encodes[label].bytes / anchor - 1 for label in labels}
    missed = [f"{label} has {100 * share:+.0f} % bitrate" for label, share in off.items() if abs(share) > _TOLERANCE]
    return "; ".join(missed)


def _kbps(size: int, reference: RawVideo, clip: Clip) -> float:
    return float(size * 8 * clip.rate / reference.frames / 1000)
