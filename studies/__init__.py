"""Studies: a question, its settings, the claims it bears on.  Run one with `python -m studies.NAME`."""
