"""What the requests of this process cost."""

start_recording_metrics = _native.start_recording_metrics
process_metrics = _native.process_metrics
request_metrics = _native.request_metrics
server_metrics = _native.server_metrics
