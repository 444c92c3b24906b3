"""The module that applications may import in a process served by httpd."""


class FileWrapper:
    """An iterable over the blocks of a file-like object (PEP 3333, wsgi.file_wrapper)."""

    def __init__(self, filelike, blksize=8192):
        if blksize < 0:
            raise ValueError("blksize must not be negative")
        self._filelike = filelike
        self._blksize = blksize

    @property
    def filelike(self):
        if self._filelike is None:
            raise ValueError("the file wrapper is closed")
        return self._filelike

    @property
    def blksize(self):
        return self._blksize

    def __iter__(self):
        return self

    def __next__(self):
        data = self.filelike.read(self._blksize)
        if not isinstance(data, bytes):
            raise TypeError("read() of the file-like object must return bytes, not " + type(data).__name__)
        if data:
            return data
        raise StopIteration

    def close(self):
        filelike, self._filelike = self._filelike, None
        try:
            filelike.close()
        except Exception:
            pass


FileWrapper.__module__ = "mod_wsgi"


def _restrict_signal(message):
    """Keeps signals for the server: signal.signal() logs, changes nothing and returns the handler."""
    import os
    import signal
    import sys
    import traceback

    real, pid = signal.signal, os.getpid()

    def ignored(signalnum, handler):
        if os.getpid() != pid:
            return real(signalnum, handler)
        print(message.format(int(signalnum)), file=sys.stderr)
        traceback.print_stack(file=sys.stderr)
        return handler

    ignored.__name__ = ignored.__qualname__ = "signal"
    ignored.__module__ = "signal"
    signal.signal = ignored


def _watch_signals(descriptor, become_copy):
    """Makes SIGTERM and SIGINT write a byte to a pipe; a process that the application forks gets their default actions back."""
    import os
    import signal

    numbers = (signal.SIGTERM, signal.SIGINT)
    signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    real = signal.signal

    def forked():
        become_copy()
        try:
            signal.set_wakeup_fd(-1)
            real(signal.SIGTERM, signal.SIG_DFL)
            real(signal.SIGINT, signal.default_int_handler)
        except ValueError:
            pass

    os.register_at_fork(after_in_child=forked)
