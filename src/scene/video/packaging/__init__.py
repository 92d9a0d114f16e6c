"""Finished streams as segments and manifests for players: HLS, DASH, and both over the same segments (CMAF)."""
