"""`scene live`: frames that wait for too long pass through, playlists go on, and what ends a run ends it well."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from lively import RATE, numbered_clip, runs, segments, watch

import scene
from scene.cli import run
from scene.enhance import Enhancer
from scene.video.encoding.plan import check_settings, plan_encode
from scene.video.live.encoder import LiveEncoder, live_settings
from scene.video.live.timeline import LIVE_CLOCK
from scene.video.source.probe import probe

AS_IS = scene.EnhanceOptions(model="none")
FAST = scene.EnhanceOptions(model="scene-fast")
LOSSLESS = scene.EncoderSettings(encoder_args="qp=0")
# One of AAC's frames, which a copy begins with as the source does.
IN_STEP_S = 0.04


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return numbered_clip(tmp_path_factory.mktemp("live") / "clip.mp4", 4)


def test_a_model_that_is_too_slow_costs_no_frame(clip, tmp_path, monkeypatch):
    """The real model with a delay, at less than half of the source's speed."""
    real = Enhancer.__call__

    def slow(self, pictures):
        time.sleep(0.1)
        return real(self, pictures)

    monkeypatch.setattr(Enhancer, "__call__", slow)
    result = scene.live(scene.LiveRequest(str(clip), f"{tmp_path}/", LOSSLESS, FAST, latency=0.4, segment=1, window=0))
    before = watch(clip)
    seen = watch(runs(tmp_path / "live.m3u8")[0])
    assert seen.numbers == before.numbers == list(range(4 * RATE))
    figures = result.figures
    assert figures.frames == figures.delivered == len(seen.numbers)
    unchanged = [bool(np.array_equal(a, b)) for a, b in zip(before.lumas, seen.lumas, strict=True)]
    assert figures.passed == sum(unchanged) and figures.enhanced == len(unchanged) - figures.passed
    assert figures.passed > RATE and figures.enhanced >= 10
    # Frames that are enhanced come in runs.
    assert sum(a != b for a, b in pairwise(unchanged)) < figures.enhanced
    assert len(seen.marks) == 4 and max(map(abs, seen.out_of_step())) <= IN_STEP_S
    assert result.ending is None and figures.delay == 0


def test_a_restart_goes_on_with_the_playlist(clip, tmp_path):
    playlist = tmp_path / "x.m3u8"
    for _ in range(2):
        request = scene.LiveRequest(str(clip), str(playlist), enhancement=AS_IS, segment=1, window=0, paced=False)
        assert scene.live(request).figures.delivered == 4 * RATE
    names = segments(playlist)
    assert names == [f"x-{number:06d}.m4s" for number in range(8)]
    text = playlist.read_text()
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1 and text.index(names[3]) < text.index("DISCONTINUITY\n")
    assert text.endswith("#EXT-X-ENDLIST\n") and text.count("ENDLIST") == 1
    first, second = map(watch, runs(playlist))
    assert first.numbers == second.numbers == list(range(4 * RATE))
    assert not list(tmp_path.glob("*.part"))


def test_a_window_forgets_what_is_old(clip, tmp_path):
    playlist = tmp_path / "x.m3u8"
    for _ in range(5):
        request = scene.LiveRequest(str(clip), str(playlist), enhancement=AS_IS, segment=1, window=2, paced=False)
        scene.live(request)
    assert segments(playlist) == ["x-000018.m4s", "x-000019.m4s"]
    text = playlist.read_text()
    assert "#EXT-X-MEDIA-SEQUENCE:18\n" in text and "#EXT-X-DISCONTINUITY-SEQUENCE:4\n" in text
    assert 'URI="x-000016-init.mp4"' in text and (tmp_path / "x-000016-init.mp4").exists()
    # Some stay for players that have read an older playlist.
    assert not (tmp_path / "x-000000.m4s").exists() and (tmp_path / "x-000017.m4s").exists()
    assert watch(runs(playlist)[0]).numbers == list(range(2 * RATE, 4 * RATE))


def test_another_playlist_is_left_alone(clip, tmp_path, capsys):
    playlist = tmp_path / "x.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:2,\nholiday.ts\n")
    assert run(["live", str(clip), str(playlist), "--model", "none"]) == 2
    assert "no playlist of this command" in capsys.readouterr().err
    assert "holiday" in playlist.read_text()


def test_a_segment_that_cannot_be_written(clip, tmp_path, capsys):
    playlist = tmp_path / "x.m3u8"
    (tmp_path / "x-000002.m4s").mkdir()
    arguments = [str(clip), str(playlist), "--model", "none", "--segment", "1", "--no-pace"]
    assert run(["live", *arguments]) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "x-000002.m4s cannot be written" in last and "what was delivered before stays" in last
    assert segments(playlist) == ["x-000000.m4s", "x-000001.m4s"]
    assert playlist.read_text().endswith("#EXT-X-ENDLIST\n")
    assert watch(runs(playlist)[0]).numbers == list(range(2 * RATE))


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on the size of files stands for a full disk")
def test_a_full_disk(clip, tmp_path):
    """Here it is full for every file of more than some bytes, as segments are and playlists are not."""
    playlist = tmp_path / "x.m3u8"
    words = [sys.executable, "-c", LIMITED, "live", str(clip), str(playlist), "--model", "none", "--no-pace"]
    done = subprocess.run([*words, "--segment", "1"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    assert "cannot be written" in done.stderr and "Traceback" not in done.stderr
    assert len(list(tmp_path.glob("*.m4s"))) < 4 and not list(tmp_path.glob("*.part"))
    assert playlist.read_text().endswith("#EXT-X-ENDLIST\n")


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (12000, 12000))
from scene.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_delivers_what_was_read(tmp_path, number, code):
    clip = numbered_clip(tmp_path / "long.mp4", 30)
    playlist = tmp_path / "x.m3u8"
    words = [sys.executable, "-m", "scene", "live", str(clip), str(playlist), "--model", "none", "--segment", "1"]
    process = subprocess.Popen([*words, "--log-format", "json"], stderr=subprocess.PIPE, text=True)
    while not playlist.exists():
        time.sleep(0.05)
        assert process.poll() is None
    time.sleep(0.3)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == code
    assert playlist.read_text().endswith("#EXT-X-ENDLIST\n")
    seen = watch(runs(playlist)[0])
    assert seen.numbers == list(range(len(seen.numbers))) and RATE < len(seen.numbers) < 20 * RATE
    assert f'"delivered": {len(seen.numbers)}' in said and f'"frames": {len(seen.numbers)}' in said


def test_a_pipe_to_a_pipe(clip, tmp_path):
    source, made = tmp_path / "in.ts", tmp_path / "out.ts"
    subprocess.run([sys.executable, "-m", "scene", "encode", str(clip), str(source), "--model", "none"], check=True)
    with source.open("rb") as stdin, made.open("wb") as stdout:
        words = [sys.executable, "-m", "scene", "live", "-", "-", "--model", "none"]
        subprocess.run(words, stdin=stdin, stdout=stdout, check=True, timeout=120)
    seen = watch(made)
    assert seen.numbers == list(range(4 * RATE))
    assert len(seen.marks) == 4 and max(map(abs, seen.out_of_step())) <= IN_STEP_S


@pytest.mark.parametrize("codec", ["x264", "x265", "svtav1"])
def test_every_encoder_begins_segments_where_it_should_and_holds_nothing_back(clip, tmp_path, codec):
    settings = scene.EncoderSettings(codec)
    result = scene.live(scene.LiveRequest(str(clip), f"{tmp_path}/", settings, AS_IS, segment=1, window=0, paced=False))
    assert result.figures.delay == 0
    assert len(segments(tmp_path / "live.m3u8")) == 4
    assert watch(runs(tmp_path / "live.m3u8")[0]).numbers == list(range(4 * RATE))


@pytest.mark.parametrize("codec", ["x264", "x265", "svtav1"])
def test_an_encoder_of_another_bitrate_goes_on_with_the_same_headers(clip, codec):
    info = replace(probe(clip), time_base=LIVE_CLOCK)
    settings = scene.EncoderSettings(codec, bitrate=500)
    plan = plan_encode(live_settings(settings, check_settings(settings)), info)
    encoder = LiveEncoder(plan, "mp4", None)
    try:
        for kilobits in (50, 200, 2000):
            encoder.set_bitrate(kilobits)
    finally:
        encoder.close()


def test_what_cannot_be_done_is_said_before_it_is_begun(clip, tmp_path, capsys):
    for arguments, said in (
        (["-", f"{tmp_path}/x.mkv"], "live video goes to"),
        ([str(clip), f"{tmp_path}/x.ts", "--codec", "vvenc"], "cannot encode live"),
        ([str(clip), f"{tmp_path}/x.ts", "--bitrate", "500", "--passes", "2"], "one pass"),
        ([str(clip), f"{tmp_path}/x.ts", "--segment", "0"], "--segment 0 makes no sense"),
        ([str(clip), f"{tmp_path}/x.ts", "--serve", "door"], "--serve door makes no sense"),
        ([str(clip), "gopher://x/y"], "gopher:// is not among"),
        (["env:NO_SUCH_VARIABLE", f"{tmp_path}/x.ts"], "NO_SUCH_VARIABLE is not set"),
    ):
        assert run(["live", *arguments]) == 2
        assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_is_made_in_one_that_is_there(clip, tmp_path, capsys):
    quick = ("--no-pace", "--model", "none")
    assert run(["live", str(clip), f"{tmp_path}/channel/", *quick]) == 0
    assert watch(runs(tmp_path / "channel" / "live.m3u8")[0]).numbers == list(range(4 * RATE))
    assert run(["live", str(clip), f"{tmp_path}/nowhere/channel/", *quick]) == 2
    assert f"the folder {tmp_path}/nowhere does not exist" in capsys.readouterr().err


def test_dash(clip, tmp_path):
    manifest = tmp_path / "x.mpd"
    request = scene.LiveRequest(str(clip), str(manifest), enhancement=AS_IS, segment=1, window=0, paced=False)
    scene.live(request)
    text = manifest.read_text()
    assert 'type="static"' in text and 'codecs="avc1.' in text and 'width="256" height="96"' in text
    data = (tmp_path / "x-0-init.mp4").read_bytes()
    data += b"".join(path.read_bytes() for path in sorted(tmp_path.glob("x-0-0*.m4s")))
    assert watch(data).numbers == list(range(4 * RATE))
    assert run(["live", str(clip), str(manifest), "--model", "none"]) == 2
