"""A command that still imports: Ctrl-C ends it in one line, by the signal as Python does."""

import sys

if sys.argv[:1] == ["-m"]:
    _others = sys.excepthook
    sys.excepthook = lambda kind, *rest: (
        print("stopped", file=sys.stderr) if kind is KeyboardInterrupt else _others(kind, *rest)
    )
