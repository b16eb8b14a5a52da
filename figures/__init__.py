"""Stored rows to pictures.  Figures never compute: they read row files and draw."""
