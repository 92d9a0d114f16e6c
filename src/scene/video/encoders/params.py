"""`encoder_args`: an encoder's own parameters, taken apart, judged, and put together again for FFmpeg."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from scene.errors import UsageError

# x265 and SVT-AV1 print to stderr by themselves; x264 and whatever goes through FFmpeg's log does not.
QUIET = {"x264": "", "x265": "log-level=none", "svtav1": "", "vvenc": ""}
_NAME = re.compile(r"[A-Za-z0-9][\w-]*")
_COLON = re.compile(r"(?<!\\)((?:\\\\)*):")
_SPECIAL = re.compile(r"[\\':]")
_ESCAPE = r"\\\g<0>"
_X26X_OWN = {
    "crf": "use `crf`",
    "bitrate": "use `bitrate`",
    "pass": "use `bitrate` with `passes`",
    "stats": "use `bitrate` with `passes`",
    "preset": "use `preset`",
    "fps": "the source says it",
    "annexb": "the container decides it",
}
_WRITES = "it writes a file, and DST is the only one that is written"
# Parameters that are options of SCENE, or that would contradict what SCENE tells the encoder.
_OWN: dict[str, dict[str, str]] = {
    "x264": {
        **_X26X_OWN,
        "log": "use `log_format`",
        "force-cfr": "time stamps are the source's",
        "dump-yuv": _WRITES,
        "opencl-clbin": _WRITES,
    },
    "x265": {
        **_X26X_OWN,
        "log-level": "use `log_format`",
        "input-res": "the source says it",
        "input-depth": "the source says it",
        "input-csp": "the source says it",
        "csv": _WRITES,
        "csv-log-level": _WRITES,
        "analysis-save": _WRITES,
        "analysis-load": "it needs a file that only `encoder_args` analysis-save could write",
        "analysis-reuse-file": _WRITES,
        "recon": _WRITES,
        "recon-y4m-exec": "it starts a program",
    },
    "svtav1": {
        "crf": "use `crf`",
        "rc": "use `crf` or `bitrate`",
        "tbr": "use `bitrate`",
        "pass": "use `bitrate`",
        "passes": "use `bitrate`",
        "stats": "use `bitrate`",
        "preset": "use `preset`",
        **dict.fromkeys(
            ("width", "height", "input-depth", "color-format", "fps", "fps-num", "fps-denom", "frames"),
            "the source says it",
        ),
    },
    "vvenc": {
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
        **dict.fromkeys(("rcstatsfile", "bitstreamfile", "reconfile", "tracefile"), _WRITES),
    },
}
_NVENC_OWN = {
    **dict.fromkeys(("cq", "crf", "qp"), "use `crf`"),
    **dict.fromkeys(("rc", "cbr"), "use `crf` or `bitrate`"),
    **dict.fromkeys(("b", "bitrate"), "use `bitrate`"),
    "preset": "use `preset`",
}
# Encoders carry on in silence, or with a line on stderr, where these files are missing.
_READ = {"cqmfile", "lambda-file", "scaling-list", "film-grain", "aom-film-grain", "dhdr10-info", "zonefile"}
_READ_WORDS = {"scaling-list": {"default", "off"}}
# SVT-AV1's film-grain is a number.
_READ_NOT = {("svtav1", "film-grain")}
# Which x264 and x265 have only before their parameters are parsed; FFmpeg has options for them.
_FFMPEGS_OWN = {"x264": ("tune", "profile"), "x265": ("tune", "profile")}
# Several may be joined by a comma. x264 itself answers to another on stderr.
_TUNES = {
    "x264": ("film", "animation", "grain", "stillimage", "psnr", "ssim", "fastdecode", "zerolatency"),
    "x265": ("psnr", "ssim", "grain", "zerolatency", "fastdecode", "animation"),
}
_PROFILES = {"x264": ("baseline", "main", "high", "high10", "high422", "high444")}

Item = tuple[str, str]


def parse_encoder_args(text: str) -> list[Item]:
    r"""Names and values of `name=value:name=value`; a name alone has the value 1.

    A colon in a value is written `\:` and a backslash `\\`; all else, commas and further equals signs too, stands for
    itself.

    Raises:
        UsageError: an item that is not of this form, or a name that comes twice.
    """
    items: list[Item] = []
    for item in _split(text):
        name, equals, value = item.partition("=")
        if not _NAME.fullmatch(name) or (equals and not value):
            raise UsageError(f"`encoder_args` {item!r} is not of the form key=value.")
        if any(_plain(name) == _plain(other) for other, _ in items):
            raise UsageError(f"`encoder_args` has {name} twice; leave one of them out.")
        items.append((name, _unescaped(value) if equals else "1"))
    return items


def joined_items(text: str) -> list[Item]:
    """As `parse_encoder_args` for what has been checked: of two items of one name the later counts."""
    parts = (item.partition("=") for item in _split(text))
    return list({name: _unescaped(value) if equals else "1" for name, equals, value in parts}.items())


def check_encoder_args(codec: str, items: Iterable[Item]) -> None:
    """Refuses parameters that cannot be meant beside what SCENE itself tells the encoder.

    Raises:
        UsageError: an option of SCENE's own, a file that would be written, or one to read that is not there.
    """
    for name, value in items:
        plain = _plain(name)
        # VVenC alone does not mind capitals.
        why = _OWN.get(codec, _NVENC_OWN).get(plain.lower() if codec == "vvenc" else plain)
        if why:
            raise UsageError(f"`encoder_args` {name}={value} is not taken: {why}.")
        for option, known in (("tune", _TUNES.get(codec)), ("profile", _PROFILES.get(codec))):
            if name == option and known and not set(re.split("[,+]", value)) <= set(known):
                raise UsageError(f"`encoder_args` {name}={value}: {codec} has {', '.join(known)}.")
        reads = plain in _READ and (codec, plain) not in _READ_NOT and value not in _READ_WORDS.get(plain, ())
        if reads and not Path(value).is_file():
            raise UsageError(f"`encoder_args` {name}={value}: there is no such file.")


def join_encoder_args(items: Iterable[Item]) -> str:
    """Items as FFmpeg's dictionaries take them."""
    return ":".join(f"{name}={_SPECIAL.sub(_ESCAPE, value)}" for name, value in items)


def split_by_taker(codec: str, items: Iterable[Item]) -> tuple[dict[str, str], list[Item]]:
    """What goes to FFmpeg as options of its own, and what goes to the encoder."""
    items = list(items)
    names = _FFMPEGS_OWN.get(codec, ())
    return {name: value for name, value in items if name in names}, [item for item in items if item[0] not in names]


def constant_quantiser(codec: str, items: Iterable[Item], bit_depth: int) -> float | None:
    """The constant quantiser that parameters ask for instead of a CRF, on the CRF's scale; None where they do not.

    x264 counts QPs of deeper samples from 6 lower for each bit, unlike its CRFs; x265 and SVT-AV1 do not. Lossless
    coding (x264's `qp=0`) has no quantiser.
    """
    for name, value in items:
        if name == "qp" and re.fullmatch(r"-?\d+", value) and (codec, value) != ("x264", "0"):
            deeper = 6 * (bit_depth - 8) if codec == "x264" else 0
            return max(0.0, float(value) - deeper)
    return None


def _split(text: str) -> list[str]:
    return [item for item in _COLON.sub("\\1\0", text).split("\0") if item]


def _unescaped(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value)


def _plain(name: str) -> str:
    return name.replace("_", "-")
