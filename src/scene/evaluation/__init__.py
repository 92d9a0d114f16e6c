"""Measuring: the rate-distortion grid, its cache, BD-rates, tables and figures."""
