"""Carriers: each applies a table forward, and none knows a sampler's name."""
