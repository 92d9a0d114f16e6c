"""A model's few free numbers, settled by a real encoder: what `scene calibrate` does."""
