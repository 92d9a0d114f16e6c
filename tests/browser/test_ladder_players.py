"""A ladder in players that people have, hls.js and dash.js, in a real browser: pictures move, and rungs are switched.

The players come from npm, which takes a network: these tests are slow ones, and skipped where npm is not there.
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from scene.cli import run
from scene.video.ffmpeg import find_ffmpeg

pytestmark = pytest.mark.slow

PLAYERS = {
    "hls.js": ("hls.js@1.7.4", "dist/hls.min.js"),
    "dash.js": ("dashjs@5.2.1", "dist/modern/umd/dash.all.min.js"),
}
SECONDS, SEGMENT = 60, 2
PAGE = """<!doctype html><body style="margin:0"><video id="video" muted width="640" height="360"></video>
<script src="{player}"></script><script>
const video = document.getElementById("video"), errors = [];
{start}
video.play();
</script></body>"""
START = {
    "hls.js": """const hls = new Hls({maxBufferLength: 4, maxMaxBufferLength: 4, abrEwmaFastVoD: 1, abrEwmaSlowVoD: 2});
hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) errors.push(data.details); });
hls.loadSource("ladder/master.m3u8"); hls.attachMedia(video);
const audioTracks = () => hls.audioTracks.map(t => t.lang), textTracks = () => hls.subtitleTracks.map(t => t.lang);""",
    "dash.js": """const player = dashjs.MediaPlayer().create();
const buffer = {bufferTimeDefault: 4, bufferTimeAtTopQuality: 4, bufferTimeAtTopQualityLongForm: 4};
player.updateSettings({streaming: {buffer}});
player.on("error", e => errors.push(e.error.message));
player.initialize(video, "ladder/manifest.mpd", false);
const audioTracks = () => player.getTracksFor("audio").map(t => t.lang);
const textTracks = () => player.getTracksFor("text").map(t => t.lang);""",
}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a folder with a ladder, both players and a page for each."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not on PATH")
    folder = tmp_path_factory.mktemp("site")
    for name, (wanted, script) in PLAYERS.items():
        if subprocess.run([npm, "pack", wanted], cwd=folder, capture_output=True).returncode:
            pytest.skip(f"npm has no {wanted}")
        archive = next(folder.glob(f"{wanted.replace('@', '-')}*.tgz"))
        with tarfile.open(archive) as opened:
            (folder / f"{name}").write_bytes(opened.extractfile(f"package/{script}").read())
        (folder / f"{name}.html").write_text(PAGE.format(player=name, start=START[name]))
    captions = folder / "captions.srt"
    captions.write_text("1\n00:00:00,000 --> 00:00:59,000\nA line of text\n")
    video = f"testsrc2=s=640x360:r=25:d={SECONDS}"
    sound = f"sine=440:d={SECONDS}"
    words = ["-f", "lavfi", "-i", video, "-f", "lavfi", "-i", sound, "-i", str(captions), "-map", "0", "-map", "1"]
    words += ["-map", "1", "-map", "2", "-c:v", "libx264", "-crf", "12", "-preset", "ultrafast", "-c:a", "aac"]
    words += ["-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=deu", "-metadata:s:s:0", "language=eng"]
    find_ffmpeg().run([*words, str(folder / "in.mkv")])
    rungs = "360p:1300k,180p:150k"
    quick = ["--preset", "ultrafast", "--model", "none", "--segment-seconds", str(SEGMENT)]
    assert run(["ladder", str(folder / "in.mkv"), str(folder / "ladder"), "--rungs", rungs, *quick]) == 0
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("player", PLAYERS)
def test_pictures_move_and_rungs_are_switched_under_a_throttled_link(browser: Browser, site: str, player: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(f"{site}/{player}.html")
    # With all of the link the first rung.
    _wait(page, "video.currentTime > 2 && video.videoHeight === 360")
    before = page.screenshot()
    _wait(page, "video.currentTime > 3")
    assert page.screenshot() != before
    assert page.evaluate("audioTracks().length") == 2
    assert sorted(track[:2] for track in page.evaluate("audioTracks()")) == ["de", "en"]
    assert page.evaluate("textTracks().length") == 1
    # With less than it takes, the second: no stall for longer than the player needs to find out.
    throttle = context.new_cdp_session(page)
    throttle.send("Network.enable")
    limit = {"offline": False, "latency": 20, "downloadThroughput": 700_000 / 8, "uploadThroughput": 1e6}
    throttle.send("Network.emulateNetworkConditions", limit)
    _wait(page, "video.videoHeight === 180")
    now = page.evaluate("video.currentTime")
    _wait(page, f"video.currentTime > {now} + 2")
    # And back.
    throttle.send("Network.emulateNetworkConditions", {**limit, "downloadThroughput": -1})
    _wait(page, "video.videoHeight === 360")
    assert page.evaluate("errors") == []
    if folder := os.environ.get("SCENE_SCREENSHOTS"):
        Path(folder, f"ladder-{player}.png").write_bytes(page.screenshot())
    context.close()


def _wait(page: Page, condition: str) -> None:
    page.wait_for_function(condition)
