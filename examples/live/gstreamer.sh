#!/bin/bash
# GStreamer on both sides: a test picture through `scene live`, and its transport stream back by fdsrc.
set -euo pipefail

gst-launch-1.0 -q videotestsrc is-live=true num-buffers=250 ! video/x-raw,width=640,height=360,framerate=25/1 \
    ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=50 ! mpegtsmux ! fdsink fd=1 |
    scene live - - --model scene-fast |
    gst-launch-1.0 -q fdsrc fd=0 ! tsdemux ! h264parse ! openh264dec ! y4menc ! filesink location=out.y4m
