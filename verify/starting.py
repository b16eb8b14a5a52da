"""What is done before torch is imported, where this package is started as a command."""

import gc
import sys

if sys.argv[:1] == ["-m"]:  # a command that still imports: Ctrl-C ends it in one line, by the signal as Python does
    _others = sys.excepthook
    sys.excepthook = lambda kind, *rest: (
        print("stopped", file=sys.stderr) if kind is KeyboardInterrupt else _others(kind, *rest)
    )
    gc.disable()  # a third of the time of all imports; the command turns it on again
