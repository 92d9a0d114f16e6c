"""What Shaka Packager 3.8 gets wrong in manifests, put right from the segments themselves.

It takes the first frame's duration for all, which a coarse clock has rounded; it leaves the eleventh segment out of the
peak of a rate; it writes DASH's labels behind roles, where the schema wants them before.
"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

_VARIANT = re.compile(r"(#EXT-X-STREAM-INF:)(.*)(\n)(\S+)")
_AUDIO = re.compile(r'#EXT-X-MEDIA:TYPE=AUDIO,URI="([^"]+)",GROUP-ID="([^"]+)"')
_SEGMENT = re.compile(r"#EXTINF:([0-9.]+),.*\n(\S+)")
_REPRESENTATION = re.compile(r"<Representation .*?</Representation>", re.DOTALL)
_TIMES = re.compile(r'<S t="\d+" d="(\d+)"(?: r="(\d+)")?/>')
_LABEL_LAST = re.compile(r"((?:<Role [^>]*/>\s*)+)(<Label>.*?</Label>)(\s*)", re.DOTALL)


def corrected_hls(path: Path, rate: Fraction) -> str:
    """An HLS master playlist with the frame rate and the peaks that its variants have.

    Args:
        rate: frames a second of the videos.
    """
    text = path.read_text("utf-8")
    peaks: dict[str, int] = {}
    for name, group in _AUDIO.findall(text):
        peaks[group] = max(peaks.get(group, 0), _playlist_peak(path.parent / name))

    def variant(match: re.Match[str]) -> str:
        said = re.sub(r"FRAME-RATE=[0-9.]+", f"FRAME-RATE={float(rate):.3f}", match[2])
        audio = re.search(r'AUDIO="([^"]+)"', said)
        peak = _playlist_peak(path.parent / match[4]) + (peaks[audio[1]] if audio else 0)
        declared = re.search(r"(?<!-)BANDWIDTH=(\d+)", said)
        if declared is not None and int(declared[1]) < peak:
            said = said.replace(declared[0], f"BANDWIDTH={peak}", 1)
        return f"{match[1]}{said}{match[3]}{match[4]}"

    return _VARIANT.sub(variant, text)


def corrected_dash(path: Path, rate: Fraction) -> str:
    """An MPD with the frame rate and the peaks that its videos have, and labels where the schema wants them.

    Args:
        rate: frames a second of the videos.
    """

    def representation(match: re.Match[str]) -> str:
        said = match[0]
        declared, media, scale = (
            re.search(pattern, said) for pattern in (r'bandwidth="(\d+)"', r'media="([^"]+)"', r'timescale="(\d+)"')
        )
        if declared is None or media is None or scale is None:
            return said
        lengths = [int(length) for length, repeats in _TIMES.findall(said) for _ in range(1 + int(repeats or 0))]
        files = [path.parent / media[1].replace("$Number$", str(number)) for number in range(1, len(lengths) + 1)]
        peak = _peak([(file, Fraction(length, int(scale[1]))) for file, length in zip(files, lengths, strict=True)])
        return said.replace(declared[0], f'bandwidth="{max(peak, int(declared[1]))}"', 1)

    text = re.sub(r'frameRate="[0-9/]+"', f'frameRate="{rate}"', path.read_text("utf-8"))
    text = _REPRESENTATION.sub(representation, text)
    return _LABEL_LAST.sub(lambda match: f"{match[2]}{match[3]}{match[1]}", text)


def _playlist_peak(path: Path) -> int:
    """The largest rate of a segment of a media playlist, in bit/s."""
    segments = _SEGMENT.findall(path.read_text("utf-8"))
    return _peak([(path.parent / name, Fraction(seconds)) for seconds, name in segments])


def _peak(segments: list[tuple[Path, Fraction]]) -> int:
    """The largest rate of segments, in bit/s, without those of less than half the length of the longest (RFC 8216)."""
    longest = max((seconds for _, seconds in segments), default=Fraction(0))
    rates = [8 * file.stat().st_size / seconds for file, seconds in segments if seconds >= longest / 2 > 0]
    return round(max(rates, default=Fraction(0)))
