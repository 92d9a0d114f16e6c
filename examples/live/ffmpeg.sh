#!/bin/bash
# A camera by ffmpeg, to HLS in the folder $1. Where ffmpeg keeps the encoder see the second half.
set -euo pipefail
out=${1:?a folder}

ffmpeg -v error -f v4l2 -framerate 25 -video_size 1280x720 -i /dev/video0 -f pulse -i default \
    -c:v libx264 -preset ultrafast -tune zerolatency -qp 10 -g 50 -c:a aac -b:a 128k -f mpegts - |
    scene live - "$out/" --model auto --bitrate 3000 --serve 8080

# Frames alone, with the same deadline, before ffmpeg's own encoder:
#
#   ffmpeg -v error -re -i in.mp4 -f yuv4mpegpipe - \
#     | scene filter - - --crf 23 --latency 0.5 \
#     | ffmpeg -v error -i - -re -i in.mp4 -map 0:v -map 1:a -c:v libx264 -tune zerolatency -crf 23 -c:a copy \
#         -f flv rtmp://127.0.0.1/live/key
