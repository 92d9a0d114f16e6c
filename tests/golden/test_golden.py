"""A tiny evaluation and an encode by each encoder, compared with what they gave before.

A change that claims to change nothing leaves the golden files as they are. One that is meant to change them says so and
writes them anew: `pytest tests/golden --update-golden`. They hold for the versions of constraints.txt. Everything
runs on one thread and through the command line, so that no rearrangement inside can touch this test.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from skimage import data

FOLDER = Path(__file__).parent
RATE = 25
ONE_THREAD = {"x264": "threads=1", "x265": "pools=1:frame-threads=1", "svtav1": "lp=1", "vvenc": ""}
# The network computes in floating point: another processor may round another way.
NETWORK_TOLERANCE = 0.01


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames of a pan over a photograph, 320x192, lossless."""
    photograph = data.astronaut().astype(np.float64)
    red, green, blue = np.moveaxis(photograph, 2, 0)
    luma = 16 + (65.738 * red + 129.057 * green + 25.064 * blue) / 256
    cb = 128 + (-37.945 * red - 74.494 * green + 112.439 * blue) / 256
    cr = 128 + (112.439 * red - 94.154 * green - 18.285 * blue) / 256
    path = tmp_path_factory.mktemp("golden") / "pan.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 320, 192, "yuv420p"
        for number in range(12):
            window = (slice(40, 232), slice(number * 3, number * 3 + 320))
            planes = [plane[window].round().astype(np.uint8) for plane in (luma, cb, cr)]
            stacked = np.concatenate([planes[0].ravel(), planes[1][::2, ::2].ravel(), planes[2][::2, ::2].ravel()])
            frame = av.VideoFrame.from_ndarray(stacked.reshape(-1, 320), "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def scene(*arguments: str | Path) -> str:
    completed = subprocess.run(
        [sys.executable, "-m", "scene", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def compare(name: str, found: Any, request: pytest.FixtureRequest) -> None:
    """Compares with a golden file, or writes it."""
    path = FOLDER / f"{name}.json"
    if request.config.getoption("--update-golden"):
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    assert found == json.loads(path.read_text(encoding="utf-8"))


def coded_video(path: Path) -> dict[str, Any]:
    """What there is of the video in a file, but for the encoder's message about itself in the first packet."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
    pictures = hashlib.sha256()
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    for frame in frames:
        pictures.update(frame.to_ndarray().tobytes())
    return {
        "bytes": sum(packet.size for packet in packets[1:]),
        "key_frames": [bool(packet.is_keyframe) for packet in packets],
        "stamps": [str(frame.pts * frame.time_base) for frame in frames],
        "pictures": pictures.hexdigest(),
    }


@pytest.mark.parametrize("codec", sorted(ONE_THREAD))
def test_an_encode_is_what_it_was(codec: str, clip: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    found = {}
    for label, options in (
        ("default", ["--model", "none"]),
        ("crf", ["--model", "none", "--crf", "34", "--preset", "faster" if codec != "svtav1" else "8"]),
        ("network", ["--model", "asconvsr"]),
    ):
        out = tmp_path / f"{label}.mkv"
        threads = ["--encoder-args", ONE_THREAD[codec]] if ONE_THREAD[codec] else []
        scene("encode", clip, out, "--codec", codec, *threads, *options)
        found[label] = coded_video(out)
    # Of a network's encode the size is compared, loosely.
    network = found.pop("network")
    compare(f"encode-{codec}", found, request)
    size = {"bytes": network["bytes"], "frames": len(network["stamps"])}
    loosely(f"encode-{codec}-network", size, request)


def loosely(name: str, found: dict[str, float], request: pytest.FixtureRequest) -> None:
    """As `compare`, for numbers that follow from the network."""
    path = FOLDER / f"{name}.json"
    if request.config.getoption("--update-golden"):
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    wanted = json.loads(path.read_text(encoding="utf-8"))
    assert found == pytest.approx(wanted, rel=NETWORK_TOLERANCE, abs=NETWORK_TOLERANCE)


def test_an_evaluation_is_what_it_was(clip: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    scene(
        *("evaluate", clip, "--models", "none,contrast,asconvsr", "--codecs", "x264,x265,svtav1"),
        *("--crf", "24,30,36,42", "--crf-svtav1", "30,40,50,60", "--jobs", "1"),
        *("--cache", tmp_path / "cache", "--out", tmp_path / "out"),
    )
    results = json.loads((tmp_path / "out" / "results.json").read_bytes())
    points, networks = {}, {}
    for point in results["points"]:
        place = f"{point['codec']} {point['method']} {point['crf']:g}"
        scores = {name: point[name] for name in ("kbps", "vmaf", "vmaf_neg", "vmaf_v1", "ms_ssim", "psnr_y")}
        if point["method"] == "asconvsr":
            networks |= {f"{place} {name}": value for name, value in scores.items()}
        else:
            points[place] = {name: round(value, 4) for name, value in scores.items()}
    rates = {
        f"{entry['codec']} {entry['method']} {entry['metric']}": entry["percent"]
        for entry in results["bd_rate"]
        if entry["clip"] == "mean" and entry["anchor"] == "none"
    }
    exact = {name: round(value, 3) for name, value in rates.items() if "asconvsr" not in name and value is not None}
    compare("evaluation", {"points": points, "bd_rate": exact}, request)
    loosely("evaluation-network", networks, request)


def test_cache_keys_are_what_they_were(clip: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Measurements that users have in their caches are found again."""
    scene(
        *("evaluate", clip, "--models", "none,unsharp", "--codecs", "x264,x265,svtav1,vvenc", "--frames", "2"),
        *("--crf", "40", "--crf-svtav1", "50", "--jobs", "1", "--cache", tmp_path / "cache", "--out", tmp_path / "out"),
    )
    entries = [json.loads(path.read_bytes()) for path in sorted((tmp_path / "cache").rglob("*.json"))]
    keys = sorted((entry["key"] for entry in entries if "settings" in entry["key"]), key=lambda key: str(key))
    for key in keys:
        # The clip is made here; how its coder is called is not the cache's business.
        key["reference"]["clip"] = "pan"
    compare("cache-keys", keys, request)


def test_shipped_models_are_what_they_were(request: pytest.FixtureRequest) -> None:
    """Weights files of today stay readable, and are the same networks."""
    lines = scene("models").splitlines()
    compare("models", [word for line in lines for word in line.split() if "@" in word], request)
