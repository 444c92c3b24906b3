"""A thread that looks at the time stamps of all modules, and ends the process when one has changed."""
import atexit
import os
import queue
import signal
import sys
import threading

_interval = 1.0
_times = {}
_files = []
_running = False
_queue = queue.Queue()
_lock = threading.Lock()


def _restart(path):
    _queue.put(True)
    prefix = "monitor (pid=%d):" % os.getpid()
    print("%s Change detected to '%s'." % (prefix, path), file=sys.stderr)
    print("%s Triggering process restart." % prefix, file=sys.stderr)
    os.kill(os.getpid(), signal.SIGINT)


def _modified(path):
    try:
        if not os.path.isfile(path):
            return path in _times
        mtime = os.stat(path).st_mtime
        if path not in _times:
            _times[path] = mtime
        if mtime != _times[path]:
            return True
    except OSError:
        return True
    return False


def _monitor():
    while True:
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if not path:
                continue
            if os.path.splitext(path)[1] in [".pyc", ".pyo", ".pyd"]:
                path = path[:-1]
            if _modified(path):
                return _restart(path)
        for path in _files:
            if _modified(path):
                return _restart(path)
        try:
            return _queue.get(timeout=_interval)
        except queue.Empty:
            pass


_thread = threading.Thread(target=_monitor, daemon=True)


def _exiting():
    _queue.put(True)
    _thread.join()


atexit.register(_exiting)


def track(path):
    if path not in _files:
        _files.append(path)


def start(interval=1.0):
    global _interval, _running
    _interval = min(interval, _interval)
    with _lock:
        if not _running:
            print("monitor (pid=%d): Starting change monitor." % os.getpid(), file=sys.stderr)
            _running = True
            _thread.start()
