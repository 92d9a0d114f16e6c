"""How well maps of importance agree with masks: encoders by name, and the centre of the picture.

    python scripts/measure_maps.py CLIPS... --regions MASKS --encoders student-mobilenetv2,TEACHER.safetensors

With an interval of 1 every frame is looked at by itself. Else the encoder looks every so many frames, with 0 once a
shot, and the map follows the motion in between.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from scene.importance.agreement import MapAgreement, map_agreement
from scene.importance.maps import ImportanceMaps
from scene.importance.priors import centre_map
from scene.measure.clip import Recipe, open_clips
from scene.measure.regions import open_masks
from scene.model.semantics import load_encoder
from scene.picture import Picture, Plane
from scene.video.encoding.regions import MaskReader
from scene.video.source.decode import Decoder
from scene.video.source.probe import probe

EVERY = 4
WIDTH = 160


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--regions", type=Path, required=True)
    parser.add_argument("--encoders", default="student-mobilenetv2")
    parser.add_argument("--intervals", default="1,12,24,0")
    given = parser.parse_args()
    clips = open_clips(given.clips)
    masks = open_masks(given.regions, clips, Recipe())
    names = given.encoders.split(",")
    print(f"| map | mean AUC | mean IoU | {' | '.join(clip.name for clip in clips)} |\n|{'---|' * (3 + len(clips))}")
    for name in ["centre", *names]:
        for interval in [0] if name == "centre" else [int(number) for number in given.intervals.split(",")]:
            rows, seconds = [], []
            for clip in clips:
                found, took = agreement(clip.path, masks[clip.sha256].path, name, interval)
                rows.append(found)
                seconds.append(took)
            means = [float(np.mean([getattr(row, key) for row in rows])) for key in ("auc", "iou")]
            cells = " | ".join(f"{row.auc:.3f}, {row.iou:.2f}" for row in rows)
            label = f"{Path(name).stem}, every {interval} ({1000 * float(np.mean(seconds)):.1f} ms a frame)"
            print(f"| {label} | {means[0]:.3f} | {means[1]:.3f} | {cells} |")


def agreement(clip: Path, masks: Path, name: str, interval: int) -> tuple[MapAgreement, float]:
    reader, pairs, seconds, count = MaskReader(masks), [], 0.0, 0
    info = probe(clip)
    look = looker(name, interval, info.format.width, info.format.height)
    with Decoder(info, writable=False) as decoder:
        for unit in decoder.units():
            if unit.frame is None:
                continue
            mask, picture = reader.next(), unit.frame.picture()
            wanted = count % EVERY == 0
            if wanted or interval != 1:
                began = time.perf_counter()
                found = look(picture)
                seconds += time.perf_counter() - began
            if wanted:
                size = WIDTH, round(WIDTH * mask.shape[0] / mask.shape[1])
                small = cv2.resize(mask, size, interpolation=cv2.INTER_AREA) >= 128
                pairs.append((cv2.resize(found, size, interpolation=cv2.INTER_LINEAR), small))
            count += 1
    return map_agreement(pairs), seconds / (count if interval != 1 else len(pairs))


def looker(name: str, interval: int, width: int, height: int) -> Callable[[Picture], Plane]:
    if name == "centre":
        still = centre_map(width, height)
        return lambda _: still
    encoder, device = load_encoder(name), torch.device("cpu")
    if interval != 1:
        return ImportanceMaps(encoder, device, interval).next
    return lambda picture: ImportanceMaps(encoder, device).next(picture)


if __name__ == "__main__":
    main()
