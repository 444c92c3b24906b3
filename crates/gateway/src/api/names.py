"""What is in the module `mod_wsgi` besides FileWrapper: classes, and names that are made when they are first asked for."""


# It is in no file, so nobody need watch one for changes.
globals().pop("__file__", None)
globals().pop("__cached__", None)


class RequestTimeout(BaseException):
    """The request has run longer than request-timeout. Left to pass, the client is answered 504."""


def _make_log_handler():
    import logging

    class LogHandler(logging.Handler):
        """Writes records to httpd's error log, at their own level and with the place in the source they come from."""

        def emit(self, record):
            number = record.levelno
            level = 2 if number >= 50 else 3 if number >= 40 else 4 if number >= 30 else 6 if number >= 20 else 7
            if not _native.wants(level):
                return
            try:
                _native.log(level, str(record.pathname), int(record.lineno), self.format(record))
            except Exception:
                self.handleError(record)

    LogHandler.__qualname__ = "LogHandler"
    return LogHandler


# Name to function that makes it.
_LATE = {"LogHandler": _make_log_handler}


def __getattr__(name):
    make = _LATE.get(name)
    if make is None:
        raise AttributeError("module 'mod_wsgi' has no attribute {!r}".format(name))
    return globals().setdefault(name, make())


def __dir__():
    return sorted(set(globals()) | set(_LATE))


def _adopt_package():
    """Makes the sub-packages of an installed mod_wsgi importable; the module itself stays this one."""
    import sys

    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec = find("mod_wsgi", None) if find else None
        if spec is not None:
            if spec.submodule_search_locations:
                globals()["__path__"] = list(spec.submodule_search_locations)
            return


def _make_apache(facts, use_installed):
    """The module `apache`: in httpd's children one that is importable under this name, with our names added."""
    import sys

    module = None
    if use_installed:
        try:
            import apache as module
        except ModuleNotFoundError as error:
            if error.name != "apache":
                _report(_APACHE_NOT_IMPORTED + ": the module 'apache' that is on sys.path could not be imported")
        except Exception:
            _report(_APACHE_NOT_IMPORTED + ": the module 'apache' that is on sys.path could not be imported")
    if module is None:
        module = type(sys)("apache")
    for name, value in facts.items():
        setattr(module, name, value)
    sys.modules["apache"] = module


def _report(what):
    """Logs the exception that is being handled."""
    import traceback

    _native.log(3, "", 0, what + "\n" + traceback.format_exc())
