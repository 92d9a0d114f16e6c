"""x264, an H.264 encoder; and what x265 has in common with it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from scene.video.encoders.base import Encoder
from scene.video.encoders.params import Item, joined_items

if TYPE_CHECKING:
    from scene.picture import PictureFormat
    from scene.video.encoders.settings import EncoderSettings
    from scene.video.source.probe import SourceInfo

WRITES = "it writes a file, and DST is the only one that is written"
_RGB = "libx264rgb"
# With macroblock trees and a quantiser compression of 0.6, by so much a CRF's frames lie above it.
_TREE_QPS = 13.5
_MESSAGE, _SEQUENCE = 6, 7
_START_CODE = re.compile(rb"(\x00*\x00\x00\x01)")
# What x264 finds on a processor with AVX2, in its own names.
_UP_TO_AVX2 = "MMX2,SSE2Fast,SSSE3,SSE4.2,AVX,FMA3,BMI2,AVX2,LZCNT"
_ROW_PIXELS = 8 * 16


class X26x(Encoder):
    """What x264 and x265 share."""

    max_crf = 51
    default_preset = "medium"
    presets = (
        *("ultrafast", "superfast", "veryfast", "faster", "fast"),
        *("medium", "slow", "slower", "veryslow", "placebo"),
    )
    has_statistics = True
    reports_settings = True
    takes_regions = True
    # They have these only before their other parameters are parsed.
    ffmpeg_args = ("tune", "profile")
    last_primaries = 12
    # The first key frame of all has a coarser quantiser than later ones, by 2 dB. With 12 frames before, 0.1 are left.
    lead_frames = 12
    part_options = MappingProxyType({"forced-idr": "1"})
    measured_crfs = (18, 22, 26, 30, 34, 38, 42)
    segment_args = "keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0"
    peak_args = "vbv-maxrate={peak}:vbv-bufsize={buffer}"
    refused_args: Mapping[str, str] = {
        "crf": "use `crf`",
        "bitrate": "use `bitrate`",
        "pass": "use `bitrate` with `passes`",
        "stats": "use `bitrate` with `passes`",
        "preset": "use `preset`",
        "fps": "the source says it",
        "annexb": "the container decides it",
    }

    def adapts_quantiser(self, settings: EncoderSettings) -> bool:
        """As `Encoder` has it: regions of interest are ignored without adaptive quantisation."""
        items = dict(joined_items(settings.encoder_args))
        if "aq-mode" in items:
            return items["aq-mode"] != "0"
        return settings.preset != "ultrafast" and "psnr" not in re.split("[,+]", items.get("tune", ""))

    def equivalent_crf(self, quantisers: Sequence[float], reported: Mapping[str, str], bit_depth: int) -> float | None:
        """As `Encoder` has it: macroblock trees lay a CRF's frames above it, the more the lower `qcomp`."""
        tree = reported.get("mbtree", reported.get("cutree", "0")) != "0"
        above = _TREE_QPS * (1 - float(reported.get("qcomp", "0.6"))) if tree else 0.0
        above += self.quantiser_offset(bit_depth)
        return super().equivalent_crf([quantiser - above for quantiser in quantisers], reported, bit_depth)

    def is_message(self, unit: bytes) -> bool:
        """Whether a unit of the byte stream is supplemental (SEI), as the encoder's settings are."""
        raise NotImplementedError

    def without_messages(self, packet: bytes) -> bytes:
        """As `Encoder` has it."""
        return b"".join(code + unit for code, unit in split_units(packet) if not self.is_message(unit))

    def coded_bytes(self, packet: bytes) -> int:
        """As `Encoder` has it."""
        return sum(len(unit) for _, unit in split_units(packet) if not self.is_message(unit))


class X264(X26x):
    """x264."""

    name = "x264"
    ffmpeg_name = "libx264"
    cost = 0.2
    aliases = ("h264", "h.264", "avc")
    default_crf = 23
    any_crf_args = MappingProxyType({"stitchable": "1"})
    params_option = "x264-params"
    decoder = "h264"
    corrects_in_silence = True
    last_matrix = 14
    # x264 itself answers to another on stderr.
    tunes = ("film", "animation", "grain", "stillimage", "psnr", "ssim", "fastdecode", "zerolatency")
    profiles = ("baseline", "main", "high", "high10", "high422", "high444")
    mastering_param = "mastering-display"
    light_param = "cll"
    projections = frozenset({"stereoscopic"})
    measuring_args = "threads=1:keyint={gop}"
    version_pattern = rb"x264 - core (\d+(?: r\d+)?)"
    raw_muxer = "h264"
    live_args = "tune=zerolatency"
    live_preset = "veryfast"
    refused_args: Mapping[str, str] = {
        **X26x.refused_args,
        "log": "use `log_format`",
        "force-cfr": "time stamps are the source's",
        "dump-yuv": WRITES,
        "opencl-clbin": WRITES,
    }

    def ffmpeg_name_for(self, fmt: PictureFormat) -> str:
        """As `Encoder` has it: RGB has an encoder of its own."""
        return _RGB if fmt.matrix == "rgb" else self.ffmpeg_name

    def pixel_format(self, planar: str, ffmpeg_name: str) -> str:
        """As `Encoder` has it: the encoder for RGB takes packed bytes."""
        return "rgb24" if ffmpeg_name == _RGB and planar == "gbrp" else planar

    def params(self, settings: EncoderSettings, info: SourceInfo) -> list[str]:
        """As `Encoder` has it, repeatable on every processor."""
        return [*steady_params(self.coded_size(info.format)[0], cpu_flags()), *super().params(settings, info)]

    def trail_frames(self, *, within_shot: bool) -> int:
        """As `Encoder` has it: macroblock trees take no notice of key frames, only of what is like what is before."""
        return 30 if within_shot else 0

    def constant_quantiser(self, items: Iterable[Item], bit_depth: int) -> float | None:
        """As `Encoder` has it. Lossless coding (`qp=0`) has no quantiser."""
        return super().constant_quantiser([item for item in items if item != ("qp", "0")], bit_depth)

    def quantiser_offset(self, bit_depth: int) -> int:
        """x264 counts QPs of deeper samples from 6 lower for each bit, unlike its CRFs; the other encoders do not."""
        return 6 * (bit_depth - 8)

    def header_args(self, parameter_sets: bytes) -> str:
        """As `Encoder` has it: the level follows the rate."""
        sets = [unit for _, unit in split_units(parameter_sets) if unit[0] & 31 == _SEQUENCE]
        return f"level={sets[0][3]}" if sets else ""

    def is_message(self, unit: bytes) -> bool:
        """As `X26x` has it."""
        return unit[0] & 31 == _MESSAGE


def split_units(packet: bytes) -> list[tuple[bytes, bytes]]:
    """H.264's or HEVC's byte stream as pairs of start code and unit; start codes appear nowhere but between units."""
    _, *parts = _START_CODE.split(packet)
    return list(zip(parts[::2], parts[1::2], strict=True))


def steady_params(width: int, cpu_flags: Iterable[str]) -> list[str]:
    """x264's parameters for pictures of a width in pixels on a processor with these flags.

    x264's AVX-512 code for macroblock trees takes eight macroblocks at a time and does not stop at the end of a row.
    Where a row is no multiple of eight, what lies behind it, which may be memory that nothing has written to, decides
    about quantisers: the same pictures then have another rate each time, by up to 1.5 %. The code for AVX2 stops.
    """
    macroblocks = -(-width // 16) * 16
    return [f"asm={_UP_TO_AVX2}"] if "avx512f" in cpu_flags and macroblocks % _ROW_PIXELS else []


@functools.cache
def cpu_flags() -> frozenset[str]:
    """The flags of this machine's processor as Linux names them; none on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text("ascii", "replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), []))
