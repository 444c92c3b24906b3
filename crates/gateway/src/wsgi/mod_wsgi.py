"""The module that applications may import in a process served by httpd."""

import io as _io
import sys as _sys
from operator import index as _index


_CLOSED = object()


class FileWrapper:
    """An iterable over the blocks of a file-like object (PEP 3333, wsgi.file_wrapper)."""

    __slots__ = ("_filelike", "_blksize")

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        self._filelike, self._blksize = None, 8192
        return self

    def __init__(self, filelike, blksize=8192):
        blksize = _index(blksize)
        if blksize < 0:
            raise ValueError("blksize must not be negative")
        if blksize > _sys.maxsize:
            raise OverflowError("blksize is too large")
        self._filelike = filelike
        self._blksize = blksize

    @property
    def filelike(self):
        if self._filelike is _CLOSED:
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
        filelike, self._filelike = self._filelike, _CLOSED
        try:
            filelike.close()
        except Exception:
            pass


FileWrapper.__module__ = "mod_wsgi"


def _has_own(thing, base, names):
    """Whether one of the methods is another than that of the class `base`."""
    mine = getattr(thing, "__dict__", ())
    return any(name in mine or getattr(type(thing), name, None) is not getattr(base, name) for name in names)


def _regular(wrapper):
    """What the server needs to send a file by itself: its descriptor, the position, and whether nothing happens at its end but that it is
    closed. None when what read() gives need not be what the descriptor gives: then it is read."""
    if _has_own(wrapper, FileWrapper, ("__iter__", "__next__")):
        return None
    file, closes = wrapper._filelike, not _has_own(wrapper, FileWrapper, ("close",))
    tempfile = _sys.modules.get("tempfile")
    if tempfile is not None and type(file) is tempfile._TemporaryFileWrapper:
        file, closes = file.file, False
    position = None
    if type(file) is _io.TextIOWrapper:
        # Its blocks would be refused; the bytes of the file are what is meant.
        position, file, closes = file.tell(), file.buffer, False
    raw = file
    for base in (_io.BufferedReader, _io.BufferedRandom):
        if isinstance(file, base):
            if _has_own(file, base, ("read", "tell", "fileno", "__getattribute__")):
                return None
            file.flush()
            raw = file.raw
            closes = closes and not _has_own(file, base, ("close",))
    if not isinstance(raw, _io.FileIO):
        return None
    if _has_own(raw, _io.FileIO, ("read", "readall", "readinto", "tell", "seek", "fileno", "__getattribute__")):
        return None
    if position is None:
        position = file.tell()
    return raw.fileno(), position, closes and raw.closefd and not _has_own(raw, _io.FileIO, ("close",))


def _watch_signals(descriptor, become_copy):
    """Makes the signals of a worker write a byte to a pipe; a process that the application forks gets their default actions back."""
    import os
    import signal

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGXCPU, signal.SIGHUP, signal.SIGUSR2)
    signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    real = signal.signal

    def forked():
        if not become_copy():
            return
        try:
            signal.set_wakeup_fd(-1)
            for number in numbers:
                real(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        except ValueError:
            pass

    os.register_at_fork(after_in_child=forked)
