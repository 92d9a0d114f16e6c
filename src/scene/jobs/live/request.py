"""What is asked of a live run, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scene.options import EnhanceOptions
from scene.video.encoders.settings import EncoderSettings

if TYPE_CHECKING:
    from scene.jobs.live.figures import Reading


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """One source that is enhanced and encoded while it comes in.

    Attributes:
        source: a file, "-" for standard input, an address (udp, tcp, http, rtmp, srt), or "env:NAME" for one that
            an environment variable holds.
        destination: a folder or .m3u8 for HLS, .mpd for DASH, .ts or "-" for a transport stream, or an address (rtmp,
            srt, udp, tcp), or "env:NAME".
        settings: of the encoder; what is not given is for little delay, see `scene.video.live.encoder.live_settings`.
        enhancement: of the source's pictures. The temporal filter never waits for frames to come.
        latency: the longest that a frame may wait to be enhanced, in seconds; after that it is passed through as it is.
        segment: of HLS and DASH, in seconds; a key frame begins each, whatever the output.
        window: seconds that HLS and DASH list, 0 for all; older segments are removed.
        paced: read a file at the speed at which it is shown. None for what it is: files are paced, nothing else.
        timeout: seconds without a packet after which a source is given up.
        audio: whether the sound is taken over.
        deinterlace: make a progressive frame of each interlaced one.
        overwrite: replace a file or DASH manifest that exists. An HLS playlist is always gone on with.
        serve: port, or host and port, where figures are served over HTTP; None for nowhere.
        token: with which settings can be changed there; None where they cannot.
    """

    source: str = field(repr=False)
    destination: str = field(repr=False)
    settings: EncoderSettings = field(default_factory=EncoderSettings)
    enhancement: EnhanceOptions = field(default_factory=EnhanceOptions)
    latency: float = 0.5
    segment: float = 2.0
    window: float = 60.0
    paced: bool | None = None
    timeout: float = 60.0
    audio: bool = True
    deinterlace: bool = False
    overwrite: bool = False
    serve: str | None = None
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LiveResult:
    """What a live run came to.

    Attributes:
        figures: the last reading.
        seconds: from the first frame to the end.
        model: the network's identity, "none" without one.
        ending: why it ended before the source did: a signal, or an error of the source; None otherwise.
    """

    figures: Reading
    seconds: float
    model: str
    ending: BaseException | None = None
