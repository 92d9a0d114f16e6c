"""VVenC, a VVC encoder, which only the ffmpeg program has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from scene.errors import UsageError
from scene.video.encoders.base import Encoder, EncoderFit
from scene.video.encoders.params import join_encoder_args, joined_items, mastering_text
from scene.video.encoders.x264 import WRITES

if TYPE_CHECKING:
    from scene.video.encoders.settings import EncoderSettings
    from scene.video.hdr import HdrMetadata
    from scene.video.source.probe import SourceInfo

# Otherwise pictures come before the first key frame, which readers of mp4 leave out.
_KEY_FRAME_FIRST = "poc0idr=1"
_EXTENDED_SAR = 255
_UNSPECIFIED = {0, 2}
_FULL_RANGE = 2
# Below that VVenC makes 0 frames of its interval of key frames, which is a second.
_LEAST_RATE = Fraction(1)


class Vvenc(Encoder):
    """VVenC. It has no CRF through FFmpeg, and codes 10 bit only."""

    name = "vvenc"
    kin = ("x265",)
    fit = EncoderFit(temporal=False)
    ffmpeg_name = "libvvenc"
    cost = 1.0
    aliases = ("vvc", "h266", "h.266")
    default_crf = 32
    max_crf = 63
    crf_step = 1
    default_preset = "faster"
    presets = ("faster", "fast", "medium", "slow", "slower")
    params_option = "vvenc-params"
    is_external = True
    external_format = "yuv420p10le"
    external_sources = frozenset({"yuv420p", "yuv420p10le"})
    ignores_case = True
    quality_name = "QP"
    measured_crfs = (22, 27, 32, 37, 42, 47)
    measured_from = 1
    # Delimiters before every picture (7 bytes each) say nothing.
    measuring_args = "threads=1:intraperiod={gop}:accessunitdelimiter=0"
    version_pattern = rb"libvvenc version: (\S+)"
    raw_muxer = "vvc"
    refused_args: Mapping[str, str] = {
        **dict.fromkeys(("qp", "q"), "use `crf`"),
        **dict.fromkeys(("bitrate", "targetbitrate"), "use `bitrate`"),
        **dict.fromkeys(("pass", "passes"), "`bitrate` makes one pass"),
        "preset": "use `preset`",
        **dict.fromkeys(("verbosity", "v"), "use `log_format`"),
        "poc0idr": "the first frame is a key frame, as containers want it",
        **dict.fromkeys(("internalbitdepth", "outputbitdepth"), "10 bit are coded"),
        **dict.fromkeys(
            ("size", "sourcewidth", "sourceheight", "inputbitdepth", "framerate", "framescale", "fps"),
            "the source says it",
        ),
        **dict.fromkeys(("frames", "framestobeencoded", "frameskip", "temporalsubsampleratio"), "all frames are coded"),
        **dict.fromkeys(("rcstatsfile", "bitstreamfile", "reconfile", "tracefile"), WRITES),
    }

    def check_crf(self, crf: float, preset: str) -> None:
        """As `Encoder` has it."""
        super().check_crf(crf, preset)
        if crf != int(crf):
            raise UsageError(f"`crf` {crf:g} is none of {self.name}'s QPs, which are whole numbers.")

    def chroma_loss(self, location: str) -> str | None:
        """As `Encoder` has it."""
        return None if location == "left" else f"that chroma lies {location} is not handed to {self.name}; it is lost."

    def hdr_params(self, hdr: HdrMetadata) -> list[str]:
        """As `Encoder` has it."""
        params = []
        if hdr.mastering:
            numbers = re.findall(r"\d+", mastering_text(hdr.mastering, integers=True))
            params.append(f"masteringdisplaycolourvolume={','.join(numbers)}")
        if hdr.content_light:
            params.append(f"maxcontentlightlevel={hdr.content_light[0]},{hdr.content_light[1]}")
        return params

    def external_rate(self, info: SourceInfo) -> Fraction:
        """As `Encoder` has it; it only sets the interval of key frames, and a bitrate's budget."""
        return max(info.rate, _LEAST_RATE)

    def external_arguments(self, settings: EncoderSettings, info: SourceInfo) -> list[str]:
        """As `Encoder` has it."""
        if settings.bitrate is not None:
            rate = ["-b:v", f"{settings.bitrate}k"]
        else:
            rate = ["-qp", f"{self.crf_of(settings):g}"]
        own = join_encoder_args(joined_items(settings.encoder_args))
        params = ":".join(filter(None, [_KEY_FRAME_FIRST, *self.signalled(info), own]))
        preset = settings.preset or self.default_preset
        return [*_colour(info), "-c:v", self.ffmpeg_name, "-preset", preset, *rate, f"-{self.params_option}", params]

    def signalled(self, info: SourceInfo) -> list[str]:
        """Parameters by which VVenC says of the source what ffmpeg does not hand to it."""
        params = ["range=full"] if info.colour.range == _FULL_RANGE else []
        aspect = Fraction(info.sample_aspect_ratio or 1)
        if aspect != 1:
            width, height = aspect.limit_denominator(0xFFFF).as_integer_ratio()
            params += ["aspectratioinfopresent=1", f"aspectratioidc={_EXTENDED_SAR}"]
            params += [f"sarwidth={width}", f"sarheight={height}"]
        return [*params, *self.hdr_params(info.hdr)]

    def external_refusal(self, messages: Sequence[str], size: tuple[int, int]) -> str | None:
        """As `Encoder` has it."""
        lines = [line.rpartition("] ")[2].strip().rstrip(".") for line in messages]
        for line in lines:
            match = re.fullmatch(r"(?:Unknown vvenc option: |Invalid vvenc value for )(.+)", line)
            if match:
                return f"{self.name} does not take this of `encoder_args`: {match[1].replace(': ', '=')}."
        if any("payload size is too small" in line for line in lines):
            small = f"pictures of {size[0]}x{size[1]} are too small for ffmpeg's {self.ffmpeg_name}"
            return f"{small}; use x264, x265 or svtav1."
        problems = [line.partition(": ")[2] for line in lines if line.startswith("Parameter Check Error: ")]
        if problems:
            return f"{self.name} refuses {size[0]}x{size[1]} with these settings: {'; '.join(problems)}."
        if any("Error while opening encoder" in line for line in lines):
            return f"{self.name} refuses {size[0]}x{size[1]} with these settings: {lines[0]}."
        return None


def _colour(info: SourceInfo) -> list[str]:
    colour = info.colour
    numbers = (("color_primaries", colour.primaries), ("color_trc", colour.transfer), ("colorspace", colour.matrix))
    tags = [f"{name}={number}" for name, number in numbers if number not in _UNSPECIFIED]
    if colour.range:
        tags.append(f"range={colour.range}")
    return ["-vf", f"setparams={':'.join(tags)}"] if tags else []
