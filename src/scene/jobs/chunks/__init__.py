"""Long encodes in parts that any process may do: planned once, encoded in any order, joined without a seam."""
