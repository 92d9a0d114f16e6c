"""Uncompressed video through files and pipes: YUV4MPEG2 and NUT."""
