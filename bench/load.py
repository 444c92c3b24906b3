"""Load from wrk: one thread, one or a few keep-alive connections, each asking again as soon as it is answered."""

import subprocess
import tempfile
from dataclasses import dataclass

from children import end_with_parent
from workloads import HERE, KIB

LARGE = 64 * KIB
ERRORS = ("connections refused", "reads failed", "writes failed", "timeouts", "answers of another status")


@dataclass(frozen=True)
class Sample:
    """What wrk saw. `wrong` says what makes the sample worthless, and is None otherwise.

    `requests` counts large answers by their bytes, so that those which are under way at the end count as far as they
    have come.
    """

    requests: float
    seconds: float
    p50_ms: float
    p99_ms: float
    wrong: str = None

    def figures(self, cpu_seconds, sleep_ms):
        """What the sample says; the server has spent that CPU time meanwhile, and the application sleeps each time."""
        figures = {
            "cpu_us": cpu_seconds * 1e6 / self.requests,
            "requests_per_second": self.requests / self.seconds,
        }
        if self.p99_ms:  # otherwise none was complete
            figures |= {"p50_ms": self.p50_ms, "p99_ms": self.p99_ms}
            if sleep_ms:
                figures["waiting_ms"] = self.p99_ms - sleep_ms
        return figures


def run(port, workload, seconds):
    """Runs one workload against one server for whole seconds."""
    with tempfile.NamedTemporaryFile() as upload:
        upload.write(workload.upload)
        upload.flush()
        command = ["wrk", "-t1", f"-c{workload.connections}", f"-d{seconds}s", "--timeout", "20s"]
        command += ["-s", str(HERE / "load.lua"), f"http://127.0.0.1:{port}{workload.path}", "--"]
        command += ["POST", upload.name] if workload.upload else ["GET", ""]
        command += [f"{name}: {value}" for name, value in workload.headers.items()]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, preexec_fn=end_with_parent
        )
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return judge([int(number) for number in line.split()[1:]], workload)
    return Sample(0, 0, 0, 0, f"wrk failed: {(done.stderr or done.stdout).strip()[-200:]}")


def judge(figures, workload):
    """A sample from the line that load.lua prints."""
    requests, microseconds, received, p50, p99, *errors = figures
    wrong = None
    for count, what in zip(errors, ERRORS):
        if count:
            wrong = f"under load: {count} {what} beside {requests} answers"
    if not wrong and received < requests * len(workload.answer):
        wrong = f"under load: {received} bytes are too few for {requests} answers"
    if len(workload.answer) >= LARGE:
        requests = received / len(workload.answer)
    if not wrong and not requests:
        wrong = "under load: no answer at all"
    return Sample(requests, microseconds / 1e6, p50 / 1e3, p99 / 1e3, wrong)
