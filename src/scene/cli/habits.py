"""What users of FFmpeg and other encoding programs are used to type, in the words of SCENE, or answered by name."""

from __future__ import annotations

import re
from collections.abc import Callable

from scene.errors import UsageError
from scene.video.encoders import ENCODERS, name_of

_SAME = {
    **dict.fromkeys(("-c:v", "-codec:v", "-vcodec", "-codec", "--encoder", "-e"), "--codec"),
    **dict.fromkeys(("-b:v", "-vb"), "--bitrate"),
    "-crf": "--crf",
    "-preset": "--preset",
    "-map": "--map",
    "-an": "--no-audio",
}
_ANSWERS = {
    **dict.fromkeys(("-o", "--output"), "the output is the word after the source, without an option"),
    **dict.fromkeys(("-c:a", "-acodec", "-codec:a", "-b:a"), "audio is copied as it is"),
    **dict.fromkeys(("-c", "-c:s", "-codec:s"), "other streams are copied as they are, and --codec is the encoder"),
    **dict.fromkeys(("-vf", "-filter:v", "-filter_complex", "-r", "-s"), "filter before, with ffmpeg and a pipe"),
    **dict.fromkeys(("-ss", "-t", "-to"), "files are taken whole; cut them before"),
    **dict.fromkeys(("-pix_fmt", "-profile:v"), "the source's pixel format is kept; see --encoder-args"),
    **{f"-{encoder.params_option}": "such parameters go to --encoder-args" for encoder in ENCODERS.values()},
    **dict.fromkeys(("--min-vmaf", "--min-score"), "give --target vmaf-neg=93, or another metric"),
    **dict.fromkeys(("-threads", "-g", "-tune"), "such parameters go to --encoder-args, as threads, keyint and tune"),
    "-f": "the suffix of the output chooses its form",
    "-q:v": "give --crf",
}
_COMMANDS = {"encode", "batch", "job", "search", "filter", "evaluate", "sample", "demo"}
# Those whose outputs are a folder.
_WITH_OUT = {"batch", "evaluate"}
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)([kKmMgG]?)(?:b(?:it)?(?:/s|ps)?)?")
_KBIT = {"": 1.0, "k": 1.0, "m": 1e3, "g": 1e6}


def translate(arguments: list[str]) -> list[str]:
    """The arguments with names of encoders, bitrates and options of other programs in the words of SCENE.

    Raises:
        UsageError: an option of another program that has none here; the answer says what does its work.
    """
    if not arguments or arguments[0] not in _COMMANDS:
        return arguments
    words = iter(arguments)
    done: list[str] = []
    for word in words:
        if word == "--":
            return [*done, word, *words]
        option, equals, value = word.partition("=") if word.startswith("-") else (word, "", "")
        if option == "-i" and not equals:
            # What follows is the source, which has no option here.
            continue
        if option in {"-o", "--output"} and arguments[0] in _WITH_OUT:
            option = "--out"
        if option in _ANSWERS:
            raise UsageError(f"{option} is another program's option: {_ANSWERS[option]}.")
        option = _SAME.get(option, option)
        if option in _VALUES:
            value = value if equals else next(words, "")
            done += [option, *([_VALUES[option](value)] if value else [])]
        elif option == "--map" and not equals:
            # What is mapped may look like an option.
            done += [option, *([value] if (value := next(words, "")) else [])]
        else:
            done.append(f"{option}{equals}{value}" if equals else option)
    return done


def _codecs(text: str) -> str:
    return ",".join(name_of(name) for name in text.split(","))


def _by_codec(text: str) -> str:
    """Of `libx264=slow,av1=6`, what is on the left."""
    parts = (part.partition("=") for part in text.split(","))
    return ",".join(f"{name_of(name)}{equals}{value}" if equals else name for name, equals, value in parts)


def _kbits(text: str) -> str:
    """Kilobits a second of `2M`, `2500k` or a number of kilobits; what is no rate stays as it is."""
    match = _RATE.fullmatch(text)
    if match is None:
        return text
    rate = float(match[1]) * _KBIT[match[2].lower()]
    if not match[2] and rate >= 1e5:
        raise UsageError(f"{text} kbit/s are {rate / 1e6:g} Gbit/s; give kbit/s, such as 2000, or a unit, such as 2M.")
    return f"{rate:g}" if rate < 1e6 and rate % 1 else str(round(rate))


_VALUES: dict[str, Callable[[str], str]] = {
    "--codec": _codecs,
    "--codecs": _codecs,
    "--preset": _by_codec,
    "--bitrate": _kbits,
    "--max-kbps": _kbits,
}
