"""The ffmpeg program and programs of the user's own: where they are, what they can do, running them. Never a shell.

SCENE encodes and decodes in process (PyAV). Measuring needs ffmpeg, because libvmaf is only in there: the static
build that `imageio-ffmpeg` carries, or the user's own. Other programs, which stand between a video and its encoder,
take YUV4MPEG2 and give YUV4MPEG2.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scene.errors import MissingError, SceneError
from scene.video.demuxers import DEMUXERS, PROTOCOLS

SAFE_INPUT = ("-protocol_whitelist", PROTOCOLS, "-format_whitelist", DEMUXERS)

_STDERR_LINES = 4
_POLL_S = 0.1


class ProcessError(SceneError):
    """A program ended with an error, or was stopped."""


class StoppedError(ProcessError):
    """A program was killed because the work it belonged to was given up."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What a finished ffmpeg left: its standard output, and its messages (already without colour codes)."""

    stdout: bytes
    messages: str


@dataclass(frozen=True, slots=True)
class FFmpeg:
    """One ffmpeg program. Runs may overlap, from any thread.

    Attributes:
        path: the program file.
        version: as `ffmpeg -version` gives it, for example "n9.0.2-17-g2a571b6068".
        build: a short hash of all that `ffmpeg -version` prints: version, configuration, library versions.
        stop: once set, running processes are killed and no more are started.
    """

    path: Path
    version: str
    build: str
    stop: threading.Event = field(default_factory=threading.Event, compare=False, repr=False)

    def run(self, arguments: Sequence[str]) -> Completed:
        """Runs `ffmpeg -v error ... ARGUMENTS` to its end; kills it if this call is interrupted.

        Raises:
            MissingError: the program cannot be started.
            StoppedError: `stop` was set.
            ProcessError: it ended with an exit code other than 0.
        """
        return run_program([str(self.path), *GLOBAL_OPTIONS, *arguments], "ffmpeg", self.stop)


GLOBAL_OPTIONS = ("-hide_banner", "-nostdin", "-v", "error", "-y")


def find_ffmpeg(given: Path | None = None) -> FFmpeg:
    """The program of `given`, else of $SCENE_FFMPEG, else the one that imageio-ffmpeg carries.

    Raises:
        MissingError: there is none there, or it does not run.
    """
    path = _locate(given)
    try:
        said = run_program([str(path), "-version"], "ffmpeg", threading.Event()).stdout.decode("utf-8", "replace")
    except ProcessError:
        said = ""
    words = said.split()
    if words[:2] != ["ffmpeg", "version"] or len(words) < 3:
        raise MissingError(f"{path} is not ffmpeg; give another with `ffmpeg` PATH")
    return FFmpeg(path, words[2], hashlib.sha256(said.encode()).hexdigest()[:12])


def has_filter(ffmpeg: FFmpeg, name: str) -> bool:
    """Whether this build of ffmpeg has the filter."""
    return _lists(ffmpeg, "-filters", name)


def require_filters(ffmpeg: FFmpeg, *names: str) -> None:
    """Raises MissingError where this build of ffmpeg lacks one of the filters."""
    for name in names:
        if not has_filter(ffmpeg, name):
            raise MissingError(f"{ffmpeg.path} was built without {name}; give another with `ffmpeg` PATH")


def has_encoder(ffmpeg: FFmpeg, name: str) -> bool:
    """Whether this build of ffmpeg has the encoder."""
    return _lists(ffmpeg, "-encoders", name)


def find_encoding_ffmpeg(encoder: str) -> FFmpeg:
    """The program of `find_ffmpeg`, if its build has an encoder.

    Raises:
        MissingError: there is none, it does not run, or it was built without the encoder.
    """
    remedy = "install imageio-ffmpeg, or name one in $SCENE_FFMPEG"
    try:
        ffmpeg = find_ffmpeg()
        found = has_encoder(ffmpeg, encoder)
    except (MissingError, ProcessError) as error:
        raise MissingError(
            f"an ffmpeg program with {encoder} is needed ({str(error).rstrip('.')}); {remedy}."
        ) from None
    if not found:
        raise MissingError(f"an ffmpeg program with {encoder} is needed, and {ffmpeg.path} has none; {remedy}.")
    return ffmpeg


def _lists(ffmpeg: FFmpeg, what: str, name: str) -> bool:
    listing = ffmpeg.run([what]).stdout.decode("utf-8", "replace")
    return any(line.split()[1:2] == [name] for line in listing.splitlines())


def input_name(path: Path) -> str:
    """`path` as ffmpeg's -i takes it, so that no name is read as a protocol, an option or a pattern."""
    return f"file:{path}"


def locate_program(name: str) -> Path:
    """The file that a command's first word starts.

    Raises:
        MissingError: there is no such program.
    """
    found = shutil.which(name)
    if found is None:
        raise MissingError(f"{name!r} is not a program that can be run")
    return Path(found)


def run_external(words: Sequence[str], source: Path, destination: Path, stop: threading.Event) -> None:
    """Runs a program with one file as its standard input and another as its output, to its end.

    The program gets a session of its own; an interruption of this call kills it and what it started.

    Args:
        words: the program and its arguments.
        stop: once set, the program is killed.

    Raises:
        MissingError: the program cannot be started.
        StoppedError: `stop` was set.
        ProcessError: it ended with an exit code other than 0; the error has the last lines of its messages.
    """
    if stop.is_set():
        raise StoppedError(f"stopped before {words[0]} was started")
    with source.open("rb") as pictures, destination.open("wb") as sink:
        try:
            process = subprocess.Popen(
                list(words), stdin=pictures, stdout=sink, stderr=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            raise MissingError(f"{words[0]} cannot be run ({error.strerror})") from error
        try:
            _, stderr = _wait(process, words[0], stop)
        except BaseException:
            _kill(process)
            raise
    _check_exit(process, words[0], stderr.decode("utf-8", "replace").strip())


def _locate(given: Path | None) -> Path:
    wanted = given or (Path(os.environ["SCENE_FFMPEG"]) if os.environ.get("SCENE_FFMPEG") else None)
    if wanted is None:
        try:
            import imageio_ffmpeg

            return Path(imageio_ffmpeg.get_ffmpeg_exe())
        except (ImportError, RuntimeError) as error:
            raise MissingError("no ffmpeg was found: install imageio-ffmpeg or give one with `ffmpeg` PATH") from error
    found = shutil.which(wanted)
    if found is None:
        raise MissingError(f"{wanted} is not a program; give an ffmpeg with `ffmpeg` PATH or $SCENE_FFMPEG")
    return Path(found)


def run_program(argv: Sequence[str], name: str, stop: threading.Event, folder: Path | None = None) -> Completed:
    """Runs a program that reads and writes files to its end; kills it if this call is interrupted.

    Args:
        name: for messages.
        stop: once set, the program is killed.
        folder: where it runs, None for the current one.

    Raises:
        MissingError, StoppedError, ProcessError: as of `FFmpeg.run`.
    """
    if stop.is_set():
        raise StoppedError(f"stopped before {name} was started")
    # SVT_LOG would hide the encoder's version from whoever asks for it.
    environment = {name: value for name, value in os.environ.items() if name != "SVT_LOG"}
    environment["AV_LOG_FORCE_NOCOLOR"] = "1"
    try:
        # Its own session: a Ctrl-C on the terminal reaches us, and we end it.
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    except OSError as error:
        raise MissingError(f"{argv[0]} cannot be run ({error.strerror})") from error
    try:
        stdout, stderr = _wait(process, name, stop)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    messages = stderr.decode("utf-8", "replace").strip()
    _check_exit(process, name, messages)
    return Completed(stdout, messages)


def _wait(process: subprocess.Popen[bytes], name: str, stop: threading.Event) -> tuple[bytes, bytes]:
    """Standard output and standard error of a process that has ended. Raises StoppedError once `stop` is set."""
    while True:
        try:
            return process.communicate(timeout=_POLL_S)
        except subprocess.TimeoutExpired:
            if stop.is_set():
                raise StoppedError(f"{name} was stopped") from None


def _check_exit(process: subprocess.Popen[bytes], name: str, messages: str) -> None:
    if process.returncode != 0:
        last = "; ".join(messages.splitlines()[-_STDERR_LINES:]) or "no message"
        raise ProcessError(f"{name} ended with code {process.returncode}: {last}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg") and process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()
