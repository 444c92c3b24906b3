"""Events: who is told what happens to requests and to the process, and the data that belong to requests."""

shutdown_callbacks = []
signal_callbacks = []


def _make_event_callbacks():
    _native.use()
    return []


_LATE["event_callbacks"] = _make_event_callbacks

# The data of running requests that have asked for them, by request id.
_data = {}


def _make_active_requests():
    _native.use()
    for request_id in _native.active():
        _data.setdefault(request_id, {})
    return _data


_LATE["active_requests"] = _make_active_requests


def request_data():
    """The dict that belongs to the request which this thread serves, for its whole life."""
    request_id = _native.current()
    if request_id is None:
        raise RuntimeError("mod_wsgi.request_data() was called on a thread that serves no request")
    data = _data.get(request_id)
    return _data.setdefault(request_id, {}) if data is None else data


def _late(name):
    return globals()[name] if name in globals() else __getattr__(name)


def subscribe_events(callback, /):
    """Calls callback(name, **values) for every event of this interpreter."""
    _late("event_callbacks").append(callback)
    return callback


def subscribe_shutdown(callback, /):
    """Calls callback("process_stopping", shutdown_reason=...) before the process ends."""
    shutdown_callbacks.append(callback)
    return callback


def subscribe_signals(callback, /):
    """Calls callback("process_signal", signame=..., signum=...) when a worker gets SIGHUP or SIGUSR2."""
    if process_group:
        signal_callbacks.append(callback)
    else:
        _native.log(6, "", 0, "mod_wsgi.subscribe_signals() is for daemon processes; it does nothing in httpd's children")
    return callback


def _publish(event, values, more=()):
    """Calls all callbacks. What one returns as a dict is what those after it are told."""
    for callback in (*globals().get("event_callbacks", ()), *more):
        try:
            result = callback(event, **values)
            if isinstance(result, dict):
                values.update(result)
        except RequestTimeout:
            raise
        except BaseException:
            _report("{}: a callback for the event {} raised".format(_CALLBACK_RAISED, event))
    return values


def _stopping(reason):
    _publish("process_stopping", {"shutdown_reason": reason}, tuple(shutdown_callbacks))


def _signal(signame, signum):
    _publish("process_signal", {"signame": signame, "signum": signum}, tuple(signal_callbacks))
