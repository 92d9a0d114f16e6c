"""Reading and writing video files: the only part that touches FFmpeg's libraries or starts its program."""
