"""What the requests of this process cost."""

start_recording_metrics = _native.start_recording
process_metrics = _native.process_metrics
request_metrics = _native.request_metrics


def server_metrics():
    """What the scoreboard of httpd holds: None unless WSGIServerMetrics or server-metrics is On."""
    return None
