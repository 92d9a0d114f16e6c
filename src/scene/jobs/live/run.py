"""Live video from its source to whoever watches it: what `scene live` does.

Three threads, joined by bounded queues: one reads and decodes, one enhances, one encodes and hands on. A frame carries
the moment at which it was read. When it has waited for too long, the second thread passes it through as it is, so that
latency is bounded and no frame is lost, however slow the model is. Sound is copied in its place among the frames.

A network's source that goes away is opened again, and its clock joined to that of before (`scene.video.live`). The main
thread only waits, so that a signal ends the source rather than the work: what was read is passed on, and the output is
ended as it should be.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from scene.errors import InputError, SceneError, UsageError
from scene.jobs.live.choice import with_live_model
from scene.jobs.live.figures import Figures
from scene.jobs.live.request import LiveRequest, LiveResult
from scene.jobs.live.server import open_server
from scene.jobs.pipeline import run_pipeline
from scene.options import BYPASS
from scene.picture import Picture
from scene.progress import OnProgress, Progress, silent
from scene.signals import Ended
from scene.video.encoders import find_encoder
from scene.video.encoding.coded import CodedPacket
from scene.video.encoding.plan import EncodePlan, check_colour, check_settings, plan_encode
from scene.video.hdr import warn_of_hdr
from scene.video.live.address import destination_address, source_address
from scene.video.live.encoder import LiveEncoder, live_settings
from scene.video.live.outputs.open import Output, muxer_of, open_output
from scene.video.live.source import LiveSource, LiveUnit
from scene.video.live.timeline import LIVE_CLOCK, TICKS

if TYPE_CHECKING:
    from scene.enhance import Enhancer

log = logging.getLogger(__name__)

_VIDEO, _AUDIO = 0, 1
_POLL_S = 0.2
_REPORT_S = 1.0
# Frames that may wait beyond those that there is time for.
_SPARE = 4
# For the threads to end once the source has: a read that nothing comes from, and what is queued.
_DRAIN_S = 20.0
# Seconds without a picture after which a run is not ready.
_READY_S = 10.0


def live(request: LiveRequest, on_progress: OnProgress = silent) -> LiveResult:
    """Enhances and encodes a source while it comes in, until it ends or a signal does.

    Returns:
        What was done; its `ending` says whether a signal (KeyboardInterrupt, `scene.signals.Ended`) or an error of the
        source was the reason to stop, after all that had come was delivered.

    Raises:
        UsageError: invalid arguments, an output that exists or cannot hold the source.
        InputError: the source is missing, or of a kind that is not supported.
        MissingError: the encoder, the model, the device or, for SRT, the ffmpeg program is missing.
        SceneError: the output cannot be written.
        BrokenPipeError: the output is a pipe whose reader has left.
    """
    return LiveRun(request, on_progress).run()


class LiveRun:
    """One run. `run` is called once; strength and bitrate may be changed meanwhile, from any thread.

    Attributes:
        figures: what was counted so far.
    """

    def __init__(self, request: LiveRequest, on_progress: OnProgress = silent) -> None:
        _check(request)
        self.figures = Figures(request.enhancement.strength, request.settings.bitrate)
        self._request = request
        self._on_progress = on_progress
        self._source_address = source_address(request.source)
        self._destination = destination_address(request.destination)
        self._settings = live_settings(request.settings, check_settings(request.settings))
        check_settings(self._settings)
        self._stop = threading.Event()
        self._finished = threading.Event()
        # What the output waits for is given up only when all is.
        self._halt = threading.Event()
        paced = self._source_address.kind == "file" if request.paced is None else request.paced
        self._source = LiveSource(
            self._source_address,
            paced=paced,
            deinterlace=request.deinterlace,
            timeout=request.timeout,
            stop=self._stop,
        )
        self._enhancer: Enhancer | None = None
        self._encoder: LiveEncoder | None = None
        # When the frames that are in the encoder or the output were read.
        self._arrived: dict[int, float] = {}
        self._began: float | None = None
        self._failure: BaseException | None = None
        self._ending: BaseException | None = None
        self._model = BYPASS

    def run(self) -> LiveResult:
        """See `live`."""
        server = open_server(self, self._request) if self._request.serve is not None else None
        try:
            self._wait(threading.Thread(target=self._work, name="enhance", daemon=True))
        finally:
            if server is not None:
                server.close()
        if self._failure is not None:
            raise self._failure
        if self._began is None and isinstance(self._ending, SceneError):
            raise self._ending
        seconds = 0.0 if self._began is None else time.monotonic() - self._began
        return LiveResult(self.figures.reading(), seconds, self._model, self._ending)

    @property
    def ready(self) -> bool:
        """Whether pictures went out a short time ago."""
        at = self.figures.delivered_at
        return at is not None and time.monotonic() - at < _READY_S

    def set_strength(self, strength: float) -> None:
        """From the next frame on. Raises UsageError where it makes no sense, or there is no model."""
        if not (math.isfinite(strength) and 0 <= strength <= 2):
            raise UsageError(f"strength {strength} makes no sense; give 0 (no change) to 2.")
        if self._enhancer is None:
            raise UsageError("there is no model whose strength could be changed.")
        self._enhancer.strength = self.figures.strength = strength

    def set_bitrate(self, kilobits: int) -> None:
        """From the next key frame on. Raises UsageError where it makes no sense, or see `LiveEncoder.set_bitrate`."""
        if not 1 <= kilobits <= 1_000_000:
            raise UsageError(f"bitrate {kilobits} makes no sense; give kbit/s, such as 2500.")
        if self._encoder is None:
            raise UsageError("there is no encoder yet.")
        self._encoder.set_bitrate(kilobits)
        self.figures.bitrate = kilobits

    def _wait(self, worker: threading.Thread) -> None:
        """Waits for the worker; a signal ends the source, and then the worker ends by itself."""
        try:
            worker.start()
            reported = time.monotonic()
            # Not by joining: Python 3.11 takes a thread for ended where a signal interrupts that.
            while not self._finished.wait(_POLL_S):
                self._take_over()
                if time.monotonic() - reported >= _REPORT_S and self._began is not None:
                    reported = time.monotonic()
                    self._report()
                self._watch()
        except (KeyboardInterrupt, Ended) as signalled:
            self._ending = signalled
            self._stop.set()
            # Before the first frame there is nothing to deliver, and a call may not come for a long time.
            drained = self._finished.wait(_DRAIN_S if self._began is not None else _POLL_S)
            if not drained and self._began is not None:
                log.warning("what was read last could not be delivered within %g s.", _DRAIN_S)
        self._take_over()
        if self._began is not None:
            self._report()

    def _watch(self) -> None:
        """Gives up a source from which nothing comes, however its reader waits."""
        since = self._source.waiting_since
        if self._source_address.kind == "file" or self._ending is not None or since is None:
            return
        if time.monotonic() - since > self._request.timeout:
            shown = self._source_address.shown
            self._ending = InputError(f"{shown}: nothing came for {self._request.timeout:g} s, so it is given up.")
            self._stop.set()

    def _take_over(self) -> None:
        source, figures = self._source, self.figures
        figures.damaged, figures.connections, figures.joins = source.damage, source.connections, source.timeline.joins

    def _report(self) -> None:
        reading = self.figures.reading()
        fields = {
            "fps": reading.fps,
            "kbps": reading.kbps,
            "passed": reading.passed,
            "undelivered": reading.undelivered,
            "latency_p95": reading.latency_p95,
            "connections": reading.connections,
        }
        self._on_progress(Progress(reading.delivered, None, fields))

    def _work(self) -> None:
        try:
            self._source.open()
            if self._stop.is_set():
                return
            self._deliver()
        except BaseException as error:
            if self._ending is None:
                self._failure = error
            else:
                log.warning("%s", error)
        finally:
            self._source.close()
            self._finished.set()

    def _deliver(self) -> None:
        info = self._source.info
        plan = plan_encode(self._settings, info)
        check_colour(plan)
        first = self._source.first
        assert first is not None and first.frame is not None
        self._enhancer = self._open_enhancer(plan, first.frame.picture())
        audio = self._source.audio if self._request.audio else None
        encoder = self._encoder = LiveEncoder(plan, muxer_of(self._destination), audio, self._source.audio_config)
        try:
            output = open_output(
                self._destination,
                encoder.streams,
                clock=LIVE_CLOCK,
                segment=self._request.segment,
                window=self._request.window,
                overwrite=self._request.overwrite,
                stop=self._halt,
                done=self._done,
            )
            self._began = time.monotonic()
            try:
                run_pipeline(
                    self._read,
                    self._enhanced,
                    lambda items, _: self._encode(items, encoder, output),
                    capacity=math.ceil(self._request.latency * float(info.rate)) + _SPARE,
                    on_stop=self._halt.set,
                )
            except BaseException:
                output.abandon()
                raise
        finally:
            encoder.close()

    def _open_enhancer(self, plan: EncodePlan, picture: Picture) -> Enhancer | None:
        options = with_live_model(plan, self._request.enhancement.without_look_ahead(), picture)
        if options.changes_nothing:
            return None
        # Torch takes seconds to import.
        from scene.enhance import open_enhancer

        enhancer = open_enhancer(options, codec=plan.encoder.name, crf=plan.conditioning_crf)
        enhancer.check(plan.info.format)
        warn_of_hdr(str(plan.info.path), plan.info.colour.transfer)
        # The first picture takes longer than any other.
        next(enhancer.stream(iter([picture])))
        self._model = enhancer.identity
        enhancer.start_shot()
        return enhancer

    def _read(self) -> Iterator[LiveUnit]:
        """All steps; where the source fails, what has come of it is delivered before that is said."""
        try:
            for unit in self._source.units():
                self.figures.frames += unit.frame is not None
                yield unit
        except SceneError as error:
            self._ending = error

    def _enhanced(self, units: Iterator[LiveUnit]) -> Iterator[LiveUnit]:
        if self._enhancer is None:
            for unit in units:
                self.figures.bypassed += unit.frame is not None
                yield unit
            return
        from scene.enhance.deadline import Deadline, stepwise

        figures = self.figures
        step, deadline = stepwise(self._enhancer), Deadline(self._request.latency)
        for unit in units:
            frame = unit.frame
            if frame is not None:
                if figures.strength == 0:
                    figures.bypassed += 1
                elif self._stop.is_set() or deadline.passes(time.monotonic() - unit.arrived):
                    figures.passed += 1
                else:
                    frame.replace(step(frame.picture()))
                    figures.enhanced += 1
            yield unit

    def _encode(self, units: Iterator[LiveUnit], encoder: LiveEncoder, output: Output) -> None:
        segment = round(self._request.segment * TICKS)
        next_key: int | None = None
        durations: dict[int, int] = {}

        def hand_on(packet: CodedPacket) -> None:
            duration = durations.pop(packet.pts or 0, 0)
            packet.duration = packet.duration or duration
            output.write(packet, _VIDEO)

        for unit in units:
            if len(encoder.streams) > 1:
                for packet in unit.packets:
                    output.write(packet, _AUDIO)
            frame = unit.frame
            if frame is None:
                continue
            if next_key is None or frame.pts >= next_key:
                frame.begins, next_key = True, frame.pts + segment
            durations[frame.pts] = frame.av_frame.duration
            self._arrived[frame.pts] = unit.arrived
            for packet in encoder.encode(frame):
                hand_on(packet)
            self.figures.delay = encoder.delay
        for packet in encoder.finish():
            hand_on(packet)
        output.finish()

    def _done(self, stream: int, stamp: int, size: int, delivered: bool) -> None:
        """A packet's end, told by the output."""
        if stream == _AUDIO:
            self.figures.sound_done(size, delivered)
            return
        arrived = self._arrived.pop(stamp, None)
        latency = None if arrived is None else time.monotonic() - arrived
        self.figures.picture_done(size, latency, delivered)


def _check(request: LiveRequest) -> None:
    for name, least, most in (("latency", 0.0, 60.0), ("segment", 0.5, 60.0), ("window", 0.0, math.inf)):
        value = getattr(request, name)
        if not (math.isfinite(value) and least <= value <= most):
            raise UsageError(f"`{name}` {value:g} makes no sense; give {least:g} to {most:g} seconds.")
    if request.timeout <= 0:
        raise UsageError(f"`timeout` {request.timeout:g} makes no sense; give seconds, such as 60.")
    if request.token is not None and request.serve is None:
        raise UsageError("a token is of use only where figures are served; give `serve`.")
    find_encoder(request.settings.codec)
