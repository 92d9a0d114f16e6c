"""What an encode comes to: a user's settings and a source's properties, resolved once."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any

import av

from scene.errors import InputError, MissingError, UsageError
from scene.video.encoders import ENCODERS, find_encoder
from scene.video.encoders.base import Encoder, StatisticsPass
from scene.video.encoders.params import FIXED_QUALITY, parse_encoder_args
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoding.diagnose import require_hardware
from scene.video.ffmpeg import find_encoding_ffmpeg
from scene.video.hdr import HDR_TRANSFERS
from scene.video.pixel_format import sample_layout
from scene.video.source.probe import SourceInfo

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EncodePlan:
    """One source with one encoder.

    Attributes:
        encoder: which one.
        settings: the user's, checked by `check_settings`.
        info: the source.
        ffmpeg_name: what FFmpeg calls the encoder of such pictures.
        size: (width, height) to encode.
        pixel_format: the encoder's, which holds the source's samples as they are.
        focus: how far bits are moved to what matters, 0 to 1; see `scene.video.encoding.regions`.
        is_part: whether it is a part of a video that is encoded, see `Encoder.part_options`.
    """

    encoder: Encoder
    settings: EncoderSettings
    info: SourceInfo
    ffmpeg_name: str
    size: tuple[int, int]
    pixel_format: str
    focus: float = 0.0
    is_part: bool = False

    @property
    def conditioning_crf(self) -> float:
        """The CRF whose step conditions a network; with a bitrate a beginning, which a first pass corrects."""
        return self.encoder.conditioning_crf(self.settings, self.info.format.bit_depth)

    def options(self, statistics_pass: StatisticsPass | None = None) -> dict[str, str]:
        """FFmpeg's options for the encoder; of one that runs in the ffmpeg program see `Encoder.external_arguments`."""
        options = self.encoder.options(self.settings, self.info, statistics_pass)
        return {**options, **self.encoder.part_options} if self.is_part else options

    def record(self) -> dict[str, Any]:
        """The plan as JSON types."""
        external = self.encoder.is_external
        return {
            "encoder": self.encoder.name,
            "ffmpeg_encoder": self.ffmpeg_name,
            "width": self.size[0],
            "height": self.size[1],
            "pixel_format": self.pixel_format,
            "options": self.encoder.external_arguments(self.settings, self.info) if external else self.options(),
        }


def check_settings(settings: EncoderSettings) -> Encoder:
    """The encoder of valid settings, which is on this machine.

    Raises:
        UsageError: an unknown encoder or preset, a CRF out of range, malformed arguments.
        MissingError: this PyAV was built without the encoder, or there is no ffmpeg program that has it.
    """
    encoder = find_encoder(settings.codec)
    if settings.preset is not None and settings.preset not in encoder.presets:
        raise UsageError(f"{encoder.name} has no preset {settings.preset!r}; choose {', '.join(encoder.presets)}.")
    if settings.crf is not None:
        encoder.check_crf(settings.crf, settings.preset or encoder.default_preset)
    items = parse_encoder_args(settings.encoder_args)
    encoder.check_args(items)
    _check_rate_control(encoder, settings, {name for name, _ in items})
    if encoder.is_external:
        find_encoding_ffmpeg(encoder.ffmpeg_name)
    elif encoder.ffmpeg_name not in av.codecs_available:
        raise MissingError(f"this build of PyAV has no {encoder.ffmpeg_name}; install PyAV from its wheels.")
    if encoder.is_hardware:
        require_hardware(encoder)
    return encoder


def _check_rate_control(encoder: Encoder, settings: EncoderSettings, names: set[str]) -> None:
    if settings.bitrate is None:
        if settings.passes is not None:
            raise UsageError("`passes` belongs to `bitrate`; give a bitrate, or leave `passes` out.")
        return
    if settings.crf is not None:
        raise UsageError("`crf` and `bitrate` exclude each other; give one of them.")
    if settings.bitrate < 1:
        raise UsageError(f"`bitrate` {settings.bitrate} makes no sense; give kbit/s, such as 2500.")
    if settings.passes not in {None, 1, 2}:
        raise UsageError(f"`passes` {settings.passes} makes no sense; give 1 or 2.")
    fixed = sorted(names & FIXED_QUALITY)
    if fixed:
        raise UsageError(f"`encoder_args` {fixed[0]} fixes the quantiser, `bitrate` the rate; leave one of them out.")
    if settings.passes == 2 and not encoder.has_trials:
        raise UsageError(f"{encoder.name} makes one pass; leave `passes` out.")


def plan_encode(settings: EncoderSettings, info: SourceInfo, focus: float = 0.0) -> EncodePlan:
    """Resolves an encode. The settings are valid, see `check_settings`.

    Args:
        focus: see `EncodePlan`.

    Raises:
        UsageError: the encoder takes no such pixel format, cannot encode pictures of such a size, or cannot be told
            what matters with these settings.
    """
    encoder = find_encoder(settings.codec)
    if focus:
        _check_focus(encoder, settings)
    encoder.check_size(info.format, settings)
    return EncodePlan(
        encoder=encoder,
        settings=settings,
        info=info,
        ffmpeg_name=encoder.ffmpeg_name_for(info.format),
        size=encoder.coded_size(info.format),
        pixel_format=_pixel_format(encoder, info),
        focus=focus,
    )


def _check_focus(encoder: Encoder, settings: EncoderSettings) -> None:
    if not encoder.takes_regions:
        able = ", ".join(other.name for other in ENCODERS.values() if other.takes_regions)
        raise UsageError(f"{encoder.name} cannot be told where bits matter; {able} can.")
    if not encoder.adapts_quantiser(settings):
        raise UsageError(
            f"{encoder.name} heeds where bits matter only while it adapts its quantiser: leave out aq-mode=0, "
            "tune=psnr and preset ultrafast, or set aq-mode=1."
        )


def check_colour(plan: EncodePlan) -> None:
    """Logs a warning where a source's chroma location is lost.

    Raises:
        InputError: 8-bit samples with a transfer function of HDR, which needs 10.
        UsageError: the encoder cannot say what the primaries or the matrix are.
    """
    encoder, info = plan.encoder, plan.info
    hdr = HDR_TRANSFERS.get(info.colour.transfer)
    if hdr and info.format.bit_depth == 8:
        raise InputError(
            f"{info.path} has 8 bit with the transfer function of HDR ({hdr}), which needs 10; correct its tags, or "
            "convert it first (format=yuv420p10le)."
        )
    for kind, value, last in (
        ("primaries", info.colour.primaries, encoder.last_primaries),
        ("matrix", info.colour.matrix, encoder.last_matrix),
    ):
        if last is not None and value > last:
            able = next(name for name, other in ENCODERS.items() if other.last_matrix is None)
            raise UsageError(
                f"{encoder.name} cannot signal the colour {kind} of {info.path} (H.273's number {value}); use {able}."
            )
    lost = encoder.chroma_loss(info.chroma_location) if info.chroma_location is not None else None
    if lost is not None:
        log.warning("%s: %s", info.path, lost)


def _pixel_format(encoder: Encoder, info: SourceInfo) -> str:
    """The encoder's pixel format that holds the source's samples as they are; 8 bit within VVenC's 10."""
    wanted = sample_layout(info.pixel_format).planar
    taken = _format_for(encoder, info, wanted)
    if taken is not None:
        return taken
    fmt = info.format
    kind = "grey" if fmt.chroma == "400" else "RGB" if fmt.matrix == "rgb" else ":".join(fmt.chroma)
    others = [other.name for other in ENCODERS.values() if other.has_trials and _format_for(other, info, wanted)]
    base = re.sub(r"\d+le$", "", wanted)
    shallower = [name for name in (f"{base}12le", f"{base}10le", base) if _format_for(encoder, info, name)]
    if others:
        way_out = f"; use {' or '.join(others)}"
    else:
        way_out = f"; convert it first (format={shallower[0]})" if shallower else ""
    raise UsageError(f"{encoder.name} does not take {fmt.bit_depth}-bit {kind} video, as {info.path} is{way_out}.")


def _format_for(encoder: Encoder, info: SourceInfo, planar: str) -> str | None:
    """The encoder's own name for samples of a planar format, None where it takes none of these."""
    if encoder.is_external:
        return encoder.external_format if planar in encoder.external_sources else None
    name = encoder.ffmpeg_name_for(info.format)
    supported = {fmt.name for fmt in av.Codec(name, "w").video_formats or []}
    wanted = encoder.pixel_format(planar, name)
    return wanted if wanted in supported else None
