"""SVT-AV1, an AV1 encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from scene.errors import UsageError
from scene.video.encoders.base import Encoder, EncoderFit

if TYPE_CHECKING:
    from scene.picture import PictureFormat
    from scene.video.encoders.settings import EncoderSettings
    from scene.video.source.probe import SourceInfo

# With it SVT-AV1 sharpens the pictures that it is given: a pre-processor inside the encoder.
VMAF_TUNE = "tune=5"
# From this preset on SVT-AV1 4.1 makes noise of busy pictures at CRFs below 2.5.
_FAST_PRESET, _LEAST_FAST_CRF = 11, 3
_SOURCE_SAYS = ("width", "height", "input-depth", "color-format", "fps", "fps-num", "fps-denom", "frames")

# AV1's AC quantiser for 8 bits at the qindex of CRF 0, 1, ..., 63: every fourth, and at the end 249 and 255. AV1
# specification, section 7.12.2; in eighths of a step.
_AV1_STEPS = (
    *(
        4,
        11,
        15,
        19,
        23,
        27,
        31,
        35,
        39,
        43,
        47,
        51,
        55,
        59,
        63,
        67,
        71,
        75,
        79,
        83,
        87,
        91,
        95,
        99,
        104,
        112,
        120,
        128,
    ),
    *(136, 144, 152, 164, 176, 188, 200, 215, 231, 247, 265, 285, 305, 329, 353, 380, 408, 440, 474, 510, 550, 593),
    *(639, 689, 743, 801, 864, 933, 1007, 1087, 1173, 1267, 1369, 1479, 1628, 1828),
)
_AV1_UNIT = 8


class SvtAv1(Encoder):
    """SVT-AV1."""

    name = "svtav1"
    ffmpeg_name = "libsvtav1"
    cost = 0.3
    aliases = ("av1", "svt-av1")
    default_crf = 35
    max_crf = 63
    default_preset = "6"
    presets = tuple(str(number) for number in range(-1, 14))
    params_option = "svtav1-params"
    crf_step = 0.25
    search_step = 1.0
    finest_search_crf = _LEAST_FAST_CRF
    next_rate_step = 5
    needs_even_size = False
    decoder = "libdav1d"
    one_thread_params = "lp=1"
    numbers_not_files = frozenset({"film-grain"})
    default_key_frames = "5s"
    endless_at_zero = True
    mastering_param = "mastering-display"
    mastering_integers = False
    light_param = "content-light"
    # Networks are trained through a proxy of x264's kind. SVT-AV1 keeps far more of a picture at the same step, with
    # larger transforms, better prediction and filters in its loop: measured on held-out photographs, docs/labbook.md.
    fit = EncoderFit(step=0.25, strength=0.5, temporal=False)
    unheld_by = frozenset({"mov", "mpegts"})
    keeps_captions = False
    live_args = "pred-struct=1:lookahead=0"
    live_preset = "10"
    # Of its rate controls only the constant rate goes without frames to come.
    live_rate_args = "rc=2"
    signals_aspect = False
    measured_crfs = (20, 27, 34, 41, 48, 55, 63)
    measured_from = 1
    measuring_args = "lp=1:keyint={gop}"
    segment_args = "keyint={gop}:irefresh-type=2:scd=0"
    version_pattern = rb"SVT-AV1 Encoder Lib v?(\S+)"
    raw_muxer = "obu"
    refused_args: Mapping[str, str] = {
        "crf": "use `crf`",
        "rc": "use `crf` or `bitrate`",
        "tbr": "use `bitrate`",
        "pass": "use `bitrate`",
        "passes": "use `bitrate`",
        "stats": "use `bitrate`",
        "preset": "use `preset`",
        **dict.fromkeys(_SOURCE_SAYS, "the source says it"),
    }

    def check_crf(self, crf: float, preset: str) -> None:
        """As `Encoder` has it."""
        super().check_crf(crf, preset)
        if crf % 0.25:
            raise UsageError(f"`crf` {crf:g} is between two that {self.name} has; give a multiple of 0.25.")
        if crf < _LEAST_FAST_CRF and int(preset) >= _FAST_PRESET:
            raise UsageError(
                f"{self.name} breaks pictures at `crf` {crf:g} with preset {preset}; give a CRF from "
                f"{_LEAST_FAST_CRF}, or a preset below {_FAST_PRESET}."
            )

    def check_size(self, fmt: PictureFormat, settings: EncoderSettings) -> None:
        """As `Encoder` has it."""
        # 4.1 waits for ever after the last frame of pictures that are so narrow and fill more than one superblock.
        if min(fmt.width, fmt.height) <= 24 and max(fmt.width, fmt.height) > 64:
            raise UsageError(
                f"{self.name} cannot encode pictures as narrow as {fmt.width}x{fmt.height}; use x264 or x265."
            )
        if settings.bitrate is not None and min(fmt.width, fmt.height) < 64:
            raise UsageError(f"{self.name} has no rate control for pictures with a side below 64 pixels; use `crf`.")

    def chroma_loss(self, location: str) -> str | None:
        """As `Encoder` has it."""
        known = location in {"left", "topleft"}
        return None if known else f"AV1 cannot say that chroma lies {location}; it is lost."

    def rate_options(self, settings: EncoderSettings) -> dict[str, str]:
        """As `Encoder` has it; the CRF is a parameter."""
        return {} if settings.bitrate is None else super().rate_options(settings)

    def params(self, settings: EncoderSettings, info: SourceInfo) -> list[str]:
        """As `Encoder` has it; FFmpeg's own option for the CRF rounds fractions, and takes 0 for none."""
        crf = [] if settings.bitrate is not None else [f"crf={self.crf_of(settings):g}"]
        return [*super().params(settings, info), *crf]

    def quantiser_step(self, crf: float) -> float:
        """As `Encoder` has it; fractions lie between two whole CRFs in proportion."""
        self._check_step(crf)
        below = min(int(crf), len(_AV1_STEPS) - 2)
        low, high = _AV1_STEPS[below : below + 2]
        return (low + (crf - below) * (high - low)) / _AV1_UNIT

    def equivalent_crf(self, quantisers: Sequence[float], reported: Mapping[str, str], bit_depth: int) -> float | None:
        """Every second frame has the CRF's own quantiser, those that others refer to have finer ones."""
        coarser = sorted(quantisers)[len(quantisers) // 2 :]
        return sum(coarser) / len(coarser) if coarser else None
