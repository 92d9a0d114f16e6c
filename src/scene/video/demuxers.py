"""What FFmpeg may open, in process and as a program."""

from __future__ import annotations

# The handful of demuxers that hold video in one local file. Playlists and scripts (hls, concat, sdp, dash), image
# sequences and devices, which name further files or addresses, are left out, whatever suffix they come with.
DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,mpegvideo,avi,flv,asf,ogg,mxf,gxf,ivf,obu,av1,"
    "h264,hevc,vvc,m4v,dv,wtv,rm,nut,yuv4mpegpipe,live_flv,h261,h263,vc1,mjpeg,gif,apng"
)
PROTOCOLS = "file"
