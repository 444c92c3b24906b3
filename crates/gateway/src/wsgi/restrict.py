"""What WSGIRestrictStdin, WSGIRestrictStdout and WSGIRestrictSignal do to an interpreter."""
import atexit
import operator
import os
import signal
import sys
import traceback


def stream(name):
    """Replaces a standard stream by something that cannot be used."""
    text = "sys." + name + " access restricted by mod_wsgi"

    class Restricted:
        __slots__ = ()

        def __getattribute__(self, attribute):
            raise OSError(text)

    Restricted.__module__, Restricted.__qualname__ = "mod_wsgi", "Restricted"
    setattr(sys, name, Restricted())
    if name == "stdout":
        # Python flushes it when it ends, and would complain.
        atexit.register(setattr, sys, name, None)


def signals(log):
    """Keeps signals for the server: signal.signal() logs, changes nothing and returns the handler."""
    real, process = signal.signal, os.getpid()

    def ignored(signalnum, handler, /):
        if os.getpid() != process:
            return real(signalnum, handler)
        text = "signal.signal(%d, ...) was ignored: signals belong to the server\n" % operator.index(signalnum)
        log(text + "".join(traceback.format_stack(sys._getframe(1))))
        return handler

    ignored.__name__ = ignored.__qualname__ = "signal"
    ignored.__module__ = "signal"
    signal.signal = ignored
