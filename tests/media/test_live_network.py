"""`scene live` on the loopback: connections that break at either end, changes by HTTP, and secrets that stay secret."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from itertools import pairwise

import av
import pytest
from lively import RATE, Receiver, call, free_port, numbered_clip, runs, watch
from prometheus_client.parser import text_string_to_metric_families

import scene
from scene.cli import run
from scene.errors import InputError
from scene.jobs.live.run import LiveRun
from scene.video.ffmpeg import find_ffmpeg

AS_IS = scene.EnhanceOptions(model="none")
IN_STEP_S = 0.04
TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def streams(tmp_path_factory):
    """Two transport streams, with frames 0 to 74 and 500 to 574, on clocks of their own."""
    folder = tmp_path_factory.mktemp("live")
    made = []
    for begin, offset in ((0, 90), (500, 7)):
        clip = numbered_clip(folder / f"{begin}.mp4", 3, begin=begin, options={"bf": "2"})
        stream = folder / f"{begin}.ts"
        with av.open(str(clip)) as source, av.open(str(stream), "w") as out:
            copies = {one.index: out.add_stream_from_template(one) for one in source.streams}
            for packet in source.demux():
                if packet.size:
                    ticks = round(offset / packet.time_base)
                    packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
                    packet.stream = copies[packet.stream_index]
                    out.mux(packet)
        made.append(stream.read_bytes())
    return made


def in_background(request):
    """A run in a thread of its own, and where its result will be."""
    made = LiveRun(request)
    results = []
    thread = threading.Thread(target=lambda: results.append(made.run()))
    thread.start()
    return made, thread, results


def until(condition, patience=60):
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("cut", [1.0, 0.6], ids=["between two streams", "in the middle of one"])
def test_a_sender_that_leaves_and_comes_back(streams, tmp_path, cut):
    port = free_port()
    request = scene.LiveRequest(
        f"tcp://127.0.0.1:{port}?listen=1", f"{tmp_path}/", enhancement=AS_IS, segment=1, window=0, timeout=3
    )
    _, thread, results = in_background(request)
    first, second = streams
    call(port, first[: round(len(first) * cut) // 188 * 188])
    call(port, second)
    thread.join(120)
    result = results[0]
    # Nobody calls any more, so the source is given up, and what came is there.
    assert isinstance(result.ending, InputError) and "nothing came for 3 s" in str(result.ending)
    figures = result.figures
    assert figures.connections == 2 and figures.joins == 1
    seen = watch(runs(tmp_path / "live.m3u8")[0])
    assert figures.frames == figures.delivered == len(seen.numbers) and figures.undelivered == 0
    came = [number for number in seen.numbers if number < 500]
    assert seen.numbers == [*came, *range(500, 500 + 3 * RATE)]
    assert came == list(range(len(came))) and len(came) > RATE
    assert all(0 < after - before < 0.6 for before, after in pairwise(seen.times))
    assert len(seen.marks) >= 4 and max(map(abs, seen.out_of_step())) <= IN_STEP_S


def test_datagrams(streams, tmp_path):
    port = free_port()
    request = scene.LiveRequest(f"udp://127.0.0.1:{port}", str(tmp_path / "x.ts"), enhancement=AS_IS, timeout=3)
    made, thread, results = in_background(request)
    packet = 7 * 188
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        # Who listens only now misses what was sent before.
        while made.figures.frames == 0:
            for at in range(0, len(streams[0]), packet):
                sender.sendto(streams[0][at : at + packet], ("127.0.0.1", port))
                time.sleep(0.002)
    thread.join(120)
    figures = results[0].figures
    seen = watch(tmp_path / "x.ts")
    assert figures.frames == figures.delivered == len(seen.numbers) > RATE


def test_a_receiver_that_leaves_and_comes_back(tmp_path):
    clip = numbered_clip(tmp_path / "clip.mp4", 6)
    receiver = Receiver()
    request = scene.LiveRequest(str(clip), f"tcp://127.0.0.1:{receiver.port}", enhancement=AS_IS, segment=0.5)
    made, thread, results = in_background(request)
    until(lambda: made.figures.delivered > RATE)
    receiver.hang_up()
    thread.join(120)
    receiver.close()
    figures = results[0].figures
    assert results[0].ending is None and figures.frames == 6 * RATE
    assert figures.delivered + figures.undelivered == figures.frames
    assert figures.undelivered > 0
    assert len(receiver.received) == 2
    later = watch(bytes(receiver.received[1]))
    # From a key frame to the end.
    assert later.numbers == list(range(later.numbers[0], 6 * RATE)) and later.numbers[0] > RATE


def test_figures_and_changes_by_http(tmp_path):
    clip = numbered_clip(tmp_path / "clip.mp4", 12)
    port = free_port()
    request = scene.LiveRequest(
        *(str(clip), str(tmp_path / "x.ts"), scene.EncoderSettings(bitrate=900)),
        segment=1,
        enhancement=scene.EnhanceOptions(model="scene-fast"),
        serve=str(port),
        token=TOKEN,
    )
    made, thread, results = in_background(request)
    at = f"http://127.0.0.1:{port}"

    def get(page):
        with urllib.request.urlopen(f"{at}{page}", timeout=10) as answer:
            return answer.read().decode()

    def post(body, token=None):
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        asked = urllib.request.Request(f"{at}/settings", body.encode(), headers)
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    until(lambda: made.figures.enhanced > RATE)
    assert json.loads(get("/health")) == {"health": "ok"}
    assert json.loads(get("/ready")) == {"ready": True}
    assert "<title>" in get("/")
    figures = json.loads(get("/figures"))
    assert figures["enhanced"] > RATE and figures["strength"] == 1 and figures["bitrate"] == 900
    families = text_string_to_metric_families(get("/metrics"))
    samples = {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}
    assert samples["scene_live_frames_total", "enhanced"] > RATE
    latencies = "scene_live_latency_seconds"
    assert samples[f"{latencies}_bucket", "+Inf"] == samples[f"{latencies}_count",] > RATE
    with pytest.raises(urllib.error.HTTPError, match="404") as missing:
        get("/secrets")
    missing.value.close()

    for token in (None, "", "wrong", TOKEN + "x"):
        assert post('{"strength": 0}', token) == (403, {"error": "the token is wrong"})
    assert made.figures.strength == 1
    for body in ("", "strength", "[]", "{}", '{"strength": "1"}', '{"speed": 1}', '{"strength": true}'):
        assert post(body, TOKEN)[0] == 400
    for body in ('{"strength": -1}', '{"strength": NaN}', '{"bitrate": 0}'):
        assert post(body, TOKEN)[0] == 409

    assert post('{"strength": 0, "bitrate": 100}', TOKEN)[0] == 200
    until(lambda: made.figures.bitrate == 100)
    enhanced, bypassed = made.figures.enhanced, made.figures.bypassed
    until(lambda: made.figures.bypassed > bypassed + 2 * RATE)
    # One may have been under way.
    assert made.figures.enhanced <= enhanced + 1
    thread.join(120)
    with av.open(str(tmp_path / "x.ts")) as made_file:
        sizes = [packet.size for packet in made_file.demux(video=0) if packet.size]
    assert len(sizes) == len(watch(tmp_path / "x.ts").numbers) == 12 * RATE
    # The seconds before the change and the last ones, in which the rate control has come to it.
    early, late = (sum(part) * 8 / 2 / 1000 for part in (sizes[RATE : 3 * RATE], sizes[-2 * RATE :]))
    assert 60 < late < 160 < early
    assert results[0].figures.passed + results[0].figures.enhanced + results[0].figures.bypassed == 12 * RATE
    with pytest.raises(OSError):
        get("/health")


def test_without_a_token_nothing_is_changed(tmp_path):
    clip = numbered_clip(tmp_path / "clip.mp4", 5)
    port = free_port()
    request = scene.LiveRequest(str(clip), str(tmp_path / "x.ts"), enhancement=AS_IS, serve=str(port))
    made, thread, _ = in_background(request)
    until(lambda: made.figures.frames > 0)
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/settings", b'{"strength": 0}', {"Authorization": "Bearer None"}
    )
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        urllib.request.urlopen(asked, timeout=10)
    refused.value.close()
    thread.join(120)


def test_keys_are_in_no_message_and_no_list_of_processes(tmp_path):
    clip = numbered_clip(tmp_path / "clip.mp4", 2)
    key = "the-secret-key"
    words = [sys.executable, "-m", "scene", "live", str(clip), "env:STREAM", "--model", "none", "--debug"]
    environment = {**os.environ, "STREAM": f"rtmp://user:{key}@127.0.0.1:{free_port()}/app/{key}?t={key}"}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    time.sleep(2)
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 0
    assert "rtmp://127.0.0.1" in said and "no connection" in said
    assert key not in said and key not in listed


def test_a_passphrase_of_a_destination_is_refused_since_it_would_show(tmp_path, capsys):
    clip = numbered_clip(tmp_path / "clip.mp4", 1)
    assert run(["live", str(clip), "srt://127.0.0.1:9?passphrase=the-secret-key", "--model", "none"]) == 2
    said = capsys.readouterr().err
    assert "list of processes" in said and "the-secret-key" not in said


def test_srt_with_a_passphrase_that_nobody_sees(tmp_path):
    """From one ffmpeg, to another; the relays are ffmpeg too."""
    clip = numbered_clip(tmp_path / "clip.mp4", 6)
    key, port, out = "the-secret-key", free_port(), free_port()
    made = tmp_path / "out.ts"
    program = [str(find_ffmpeg().path), "-v", "error", "-nostdin", "-y"]
    heard = subprocess.Popen([*program, "-i", f"srt://127.0.0.1:{out}?mode=listener", "-c", "copy", str(made)])
    # Its own arguments show the key, so that it is called otherwise.
    sent = f"srt://127.0.0.1:{port}?mode=listener&passphrase={key}"
    sender = subprocess.Popen([*program, "-re", "-i", str(clip), "-c", "copy", "-f", "mpegts", sent])
    words = [sys.executable, "-m", "scene", "live", "env:SOURCE", f"srt://127.0.0.1:{out}", "--model", "none"]
    environment = {**os.environ, "SOURCE": f"srt://127.0.0.1:{port}?passphrase={key}"}
    process = subprocess.Popen([*words, "--timeout", "3"], env=environment, stderr=subprocess.PIPE, text=True)
    shown = []
    while sender.poll() is None:
        listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
        shown += [line for line in listed.splitlines() if key in line and int(line.split()[0]) != sender.pid]
        time.sleep(0.5)
    said = process.communicate(timeout=60)[1]
    heard.terminate()
    heard.wait(30)
    assert process.returncode == 3 and "nothing came for 3 s" in said and key not in said
    assert not shown
    numbers = watch(made).numbers
    assert len(numbers) > RATE and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
