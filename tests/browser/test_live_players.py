"""A live run in hls.js and dash.js, while it grows, and HLS over a restart. Slow, as the players come by npm."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from test_ladder_players import PLAYERS

from scene.video.ffmpeg import find_ffmpeg

pytestmark = pytest.mark.slow

PAGE = """<!doctype html><body style="margin:0"><video id="video" muted width="640" height="360"></video>
<script src="{player}"></script><script>
const video = document.getElementById("video"), errors = [];
{start}
video.play();
</script></body>"""
START = {
    "hls.js": """const hls = new Hls();
hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) errors.push(data.details); });
hls.loadSource("out/live.m3u8"); hls.attachMedia(video);""",
    "dash.js": """const player = dashjs.MediaPlayer().create();
player.on("error", e => errors.push(e.error.message));
player.initialize(video, "out/live.mpd", false);""",
}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def site(folder: Path, player: str) -> Iterator[str]:
    """The address of a folder with a clip of a minute, a player and its page."""
    npm = shutil.which("npm")
    wanted, script = PLAYERS[player]
    if npm is None or subprocess.run([npm, "pack", wanted], cwd=folder, capture_output=True).returncode:
        pytest.skip(f"npm has no {wanted}")
    with tarfile.open(next(folder.glob("*.tgz"))) as opened:
        (folder / player).write_bytes(opened.extractfile(f"package/{script}").read())
    (folder / "index.html").write_text(PAGE.format(player=player, start=START[player]))
    (folder / "out").mkdir()
    words = ["-f", "lavfi", "-i", "testsrc2=s=640x360:r=25:d=60", "-f", "lavfi", "-i", "sine=440:d=60"]
    find_ffmpeg().run([*words, "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", str(folder / "in.mp4")])
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/index.html"
        server.shutdown()


def live(folder: Path, name: str) -> subprocess.Popen[bytes]:
    """A run, once it can be watched."""
    words = [sys.executable, "-m", "scene", "live", str(folder / "in.mp4"), str(folder / "out" / name)]
    process = subprocess.Popen([*words, "--model", "none", "--preset", "ultrafast"], stderr=subprocess.DEVNULL)
    while not (folder / "out" / name).exists():
        assert process.poll() is None
        time.sleep(0.1)
    return process


def moves_to(page: Page, seconds: float) -> None:
    page.wait_for_function(f"video.currentTime > {seconds}")
    before = page.screenshot()
    page.wait_for_function(f"video.currentTime > {seconds} + 0.5")
    assert page.screenshot() != before
    assert page.evaluate("errors") == []


def test_hls_plays_on_over_a_restart(browser: Browser, tmp_path: Path) -> None:
    with site(tmp_path, "hls.js") as address:
        first = live(tmp_path, "live.m3u8")
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(address)
        moves_to(page, 2)
        # Without a chance to end its playlist.
        first.kill()
        first.wait()
        listed = (tmp_path / "out" / "live.m3u8").read_text()
        assert "ENDLIST" not in listed
        second = live(tmp_path, "live.m3u8")
        moves_to(page, 2 * listed.count("#EXTINF") + 3)
        assert "#EXT-X-DISCONTINUITY\n" in (tmp_path / "out" / "live.m3u8").read_text()
        if folder := os.environ.get("SCENE_SCREENSHOTS"):
            Path(folder, "live-hls.png").write_bytes(page.screenshot())
        page.close()
        second.terminate()
        assert second.wait(30) == 143


def test_dash_plays_while_it_is_made(browser: Browser, tmp_path: Path) -> None:
    with site(tmp_path, "dash.js") as address:
        run = live(tmp_path, "live.mpd")
        assert 'type="dynamic"' in (tmp_path / "out" / "live.mpd").read_text()
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(address)
        page.wait_for_function("video.currentTime > 0 && !video.paused && video.videoHeight === 360")
        moves_to(page, page.evaluate("video.currentTime") + 3)
        page.close()
        run.terminate()
        assert run.wait(30) == 143
