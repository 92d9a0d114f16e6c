"""x265, an HEVC encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from scene.video.encoders.x264 import WRITES, X26x, split_units

if TYPE_CHECKING:
    from scene.video.hdr import HdrMetadata
    from scene.video.source.probe import SourceInfo

# Of the network abstraction layer: prefix and suffix messages.
_MESSAGES = (39, 40)
_SEQUENCE = 33
_LEVEL_AT = 14
_EMULATED, _ZEROS = b"\0\0\3", b"\0\0"
# Key frames that pictures before may follow, and those without such pictures, at which decoding begins anew.
_CRA, _BLA_N_LP = 21, 18


class X265(X26x):
    """x265."""

    name = "x265"
    ffmpeg_name = "libx265"
    cost = 0.4
    aliases = ("hevc", "h265", "h.265")
    default_crf = 28
    params_option = "x265-params"
    decoder = "hevc"
    quiet_params = "log-level=none"
    one_thread_params = "pools=1"
    last_matrix = 15
    tunes = ("psnr", "ssim", "grain", "zerolatency", "fastdecode", "animation")
    # x265 derives decoding times from its third frame.
    frames_for_dts = 3
    # Behind 12 frames the first key frame has another quantiser by up to 5, behind 30 by 0.5 at most. Within a shot,
    # with b-adapt=2 as from medium on, one that is asked for had a quantiser coarser by 3 to 5, and 5 dB less.
    lead_frames = 30
    inverts_lead = True
    mastering_param = "master-display"
    light_param = "max-cll"
    apple_tag = "hvc1"
    measuring_args = "pools=1:frame-threads=1:keyint={gop}"
    version_pattern = rb"x265 \(build \d+\) - ([^:\s]+)"
    raw_muxer = "hevc"
    live_args = "tune=zerolatency"
    live_preset = "superfast"
    refused_args: Mapping[str, str] = {
        **X26x.refused_args,
        "log-level": "use `log_format`",
        "input-res": "the source says it",
        "input-depth": "the source says it",
        "input-csp": "the source says it",
        "csv": WRITES,
        "csv-log-level": WRITES,
        "analysis-save": WRITES,
        "analysis-load": "it needs a file that only `encoder_args` analysis-save could write",
        "analysis-reuse-file": WRITES,
        "recon": WRITES,
        "recon-y4m-exec": "it starts a program",
    }

    def source_options(self, info: SourceInfo) -> dict[str, str]:
        """As `Encoder` has it: the others' encoders that know captions take them anyway."""
        return {**super().source_options(info), **({"a53cc": "1"} if info.captions else {})}

    def hdr_params(self, hdr: HdrMetadata) -> list[str]:
        """As `Encoder` has it; x265 writes it only where these ask for it."""
        return [*(["hdr10=1", "repeat-headers=1"] if hdr else []), *super().hdr_params(hdr)]

    def trail_frames(self, *, within_shot: bool) -> int:
        """As `Encoder` has it: a video's last four frames get 20 to 35 % fewer bits, with 12 behind them 0 to 5 %."""
        return 12

    def spliced(self, packet: bytes) -> bytes:
        """As `Encoder` has it.

        With open groups of pictures a forced key frame is no IDR but a CRA picture, after which pictures are numbered
        on. Behind others it has to be a BLA picture (ITU-T H.265, 7.4.2.2), which differs in its unit's header alone.
        """
        units = split_units(packet)
        return b"".join(code + (_as_bla(unit) if unit[0] >> 1 & 63 == _CRA else unit) for code, unit in units)

    def header_args(self, parameter_sets: bytes) -> str:
        """As `Encoder` has it: the level follows the rate. It stands behind the profile (ITU-T H.265, 7.3.3)."""
        sets = [unit for _, unit in split_units(parameter_sets) if unit[0] >> 1 & 63 == _SEQUENCE]
        return f"level-idc={sets[0].replace(_EMULATED, _ZEROS)[_LEVEL_AT] // 3}" if sets else ""

    def is_message(self, unit: bytes) -> bool:
        """As `X26x` has it."""
        return unit[0] >> 1 & 63 in _MESSAGES


def _as_bla(unit: bytes) -> bytes:
    return bytes((unit[0] & ~0x7E | _BLA_N_LP << 1,)) + unit[1:]
