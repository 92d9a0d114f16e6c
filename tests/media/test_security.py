"""Hostile input: files that name other files and addresses are refused, and nobody is called."""

import shutil
import socket
import threading
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from loopback import Listener
from making import assert_same_pictures, decoded, make_video

from scene.cli import run


@pytest.fixture
def listener():
    made = Listener()
    yield made
    made.close()


def playlists(port, neighbour):
    """Files that lead elsewhere, by name: to an address on the loopback, or to another file."""
    web = f"http://127.0.0.1:{port}/film"
    manifest = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT2S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
        f'<BaseURL>{web}/</BaseURL><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1000" '
        'codecs="avc1.64001e"><SegmentTemplate media="$Number$.m4s" initialization="init.mp4" duration="1"/>'
        "</Representation></AdaptationSet></Period></MPD>"
    )
    return {
        "web.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{web}.ts\n#EXT-X-ENDLIST\n",
        "variants.m3u8": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\n{web}.m3u8\n",
        "key.m3u8": f'#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-KEY:METHOD=AES-128,URI="{web}.key"\n'
        f"#EXTINF:2,\n{neighbour.name}\n#EXT-X-ENDLIST\n",
        "neighbour.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{neighbour.name}\n#EXT-X-ENDLIST\n",
        "web.ffconcat": f"ffconcat version 1.0\nfile '{web}.mkv'\n",
        "neighbour.ffconcat": f"ffconcat version 1.0\nfile '{neighbour.name}'\n",
        "call.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\n"
        f"m=video {port} RTP/AVP/TCP 96\na=rtpmap:96 H264/90000\na=control:rtsp://127.0.0.1:{port}/film\n",
        "web.mpd": manifest,
        "web.asx": f'<asx version="3.0"><entry><ref href="{web}.wmv"/></entry></asx>',
        "web.rtsp.ram": f"rtsp://127.0.0.1:{port}/film\n",
        "web.pls": f"[playlist]\nFile1={web}.mkv\n",
    }


@pytest.mark.parametrize("suffix", ["", ".mp4"])
@pytest.mark.parametrize("name", sorted(playlists(0, Path("x"))))
def test_no_playlist_is_followed(tmp_path, capfd, listener, name, suffix):
    neighbour = make_video(tmp_path / "neighbour.ts", codec="mpeg2video", time_base=Fraction(1, 25), frames=3)
    path = tmp_path / (name + suffix)
    path.write_text(playlists(listener.port, neighbour)[name])
    before = sorted(tmp_path.iterdir())
    assert run(["encode", str(path), str(tmp_path / "out.mkv"), "--model", "none"]) == 3
    said = capfd.readouterr().err
    assert "cannot be opened as video" in said
    assert ("--allow-network" in said) == name.endswith((".m3u8", ".ffconcat", ".sdp", ".mpd"))
    assert sorted(tmp_path.iterdir()) == before
    assert listener.calls == []


@pytest.mark.parametrize("command", ["evaluate", "compare", "search", "filter"])
@pytest.mark.parametrize("name", ["web.m3u8", "neighbour.m3u8", "neighbour.ffconcat", "call.sdp", "web.mpd"])
def test_nor_by_other_commands(tmp_path, capfd, listener, command, name):
    neighbour = make_video(tmp_path / "neighbour.ts", codec="mpeg2video", time_base=Fraction(1, 25), frames=3)
    path = tmp_path / f"{name}.mp4"
    path.write_text(playlists(listener.port, neighbour)[name])
    arguments = {
        "evaluate": ["--models", "none", "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "results")],
        "compare": [str(neighbour), "--out", str(tmp_path / "results")],
        "search": ["--target", "vmaf-neg=90", "--model", "none"],
        "filter": [str(tmp_path / "out.y4m"), "--model", "none"],
    }[command]
    assert run([command, str(path), *arguments]) == 3
    assert name in capfd.readouterr().err
    assert listener.calls == []


@pytest.fixture
def server(tmp_path):
    """A web server for a folder of its own."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield folder, web.server_port
        web.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", ["m3u8", "ffconcat"])
@pytest.mark.parametrize("where", ["web", "beside"])
def test_playlists_are_followed_where_that_is_allowed(tmp_path, server, kind, where):
    folder, port = server
    place = folder if where == "web" else tmp_path
    piece = make_video(place / "piece.ts", codec="mpeg2video", time_base=Fraction(1, 25), frames=5)
    address = f"http://127.0.0.1:{port}/piece.ts" if where == "web" else piece.name
    path = tmp_path / f"list.{kind}"
    path.write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:0.2,\n{address}\n#EXT-X-ENDLIST\n"
        if kind == "m3u8"
        else f"ffconcat version 1.0\nfile '{address}'\n"
    )
    out = tmp_path / "out.mkv"
    arguments = ["encode", str(path), str(out), "--model", "none", "--preset", "ultrafast", "--encoder-args", "qp=0"]
    assert run(arguments) == 3
    assert run([*arguments, "--allow-network"]) == 0
    assert_same_pictures(decoded(piece), decoded(out))


@pytest.mark.parametrize("name", ["call.sdp", "web.mpd"])
def test_sdp_and_dash_are_refused_in_any_case(tmp_path, capfd, listener, name):
    path = tmp_path / name
    path.write_text(playlists(listener.port, path)[name])
    arguments = ["encode", str(path), str(tmp_path / "out.mkv"), "--model", "none", "--allow-network"]
    assert run(arguments) == 3
    assert "cannot be opened as video" in capfd.readouterr().err
    assert listener.calls == []


def test_the_listener_would_notice(listener):
    """The other tests would pass with a deaf one."""
    with socket.create_connection(("127.0.0.1", listener.port)) as caller:
        caller.sendall(b"GET /film")
        assert caller.recv(1) == b""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.sendto(b"SETUP", ("127.0.0.1", listener.port))
    listener.close()
    assert listener.calls == [b"GET /film", b"SETUP"]


NAMES = [
    "-x.mp4",
    "a;touch b;$(touch c).mp4",
    'it\'s "here".mp4',
    "%03d.mp4",
    "two\nlines.mp4",
    "concat:x.mp4",
    "http:x.mp4",
    "[a]{b}*?.mp4",
    "\x1b[31m.mp4",
    b"\xff\xfe.mp4".decode("utf-8", "surrogateescape"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_only_a_name(tmp_path, monkeypatch, capfd, name):
    """For every command that reads videos: in process, and through the ffmpeg program."""
    monkeypatch.chdir(tmp_path)
    source = make_video(tmp_path / "made.mp4", codec="libx264", size=(224, 224), frames=5)
    source.rename(tmp_path / name)
    written = "out" + name
    arguments = ["encode", "--model", "none", "--preset", "ultrafast", "--", name, written]
    assert run(arguments) == 0, capfd.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, written])
    shutil.copy(written, tmp_path / ("-" + written))
    assert run(["compare", "--out", "results", "--", name, written]) == 0, capfd.readouterr().err
    assert not (tmp_path / "b").exists() and not (tmp_path / "c").exists()


def test_temporary_files_are_private(tmp_path, monkeypatch):
    """What is written beside the destination, and its name, is nobody else's business until it is whole."""
    from scene.files import PendingFile

    with PendingFile(tmp_path / "out.mkv") as one, PendingFile(tmp_path / "out.mkv") as other:
        assert one.path != other.path
        assert one.path.stat().st_mode & 0o777 == 0o600
        assert len(one.path.name) > len(".out.mkv..part") + 8  # the rest is from the system's randomness
    assert list(tmp_path.iterdir()) == []
