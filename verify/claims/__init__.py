"""Verdicts computed from rows."""
