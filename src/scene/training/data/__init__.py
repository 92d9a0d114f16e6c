"""What training sees: frames, crops of them, and their embeddings."""
