"""The memory of workers that wait for requests: started afresh, asked a few times, then left alone."""

import http.client
import re
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from server import Failed

PROCESSES, THREADS = 8, 2  # of each group: what workers share is divided by those who share it
CLIENTS = 40  # more than there are threads, and asking at the same time, so that it is every worker's turn
ROUNDS = 3  # it hardly varies
PATIENCE = 10  # seconds in which all workers should have answered
REST = 0.5  # seconds without a request before the measurement


def subject(contender):
    """The contender as it is measured here."""
    name = f"{contender.name}.memory"
    return replace(contender, name=name, processes=PROCESSES, threads=THREADS, script="loaded")


def measure(server):
    """PSS and USS of a worker and PSS of the whole server in MiB; starts the server and stops it. Raises Failed."""
    try:
        server.start()
        workers = find_workers(server)
        time.sleep(REST)
        sizes = [size for pid in workers if (size := of_process(pid))]
        return {
            "worker_pss_mib": statistics.median(pss for pss, _ in sizes),
            "worker_uss_mib": statistics.median(uss for _, uss in sizes),
            "server_pss_mib": of_server(server),
        }
    finally:
        server.stop()


def find_workers(server):
    """Asks for process ids until each of the contender's workers has answered, or a few of them have after a while."""
    wanted, found = server.contender.processes, set()
    deadline = time.monotonic() + PATIENCE
    while len(found) < wanted:
        if time.monotonic() > deadline:
            if len(found) > 1:  # not every server spreads requests evenly
                break
            raise Failed(server.explain(f"{len(found)} of {wanted} workers answer"))
        with ThreadPoolExecutor(CLIENTS) as clients:
            found |= set(filter(None, clients.map(lambda _: ask_pid(server.port), range(CLIENTS))))
    return found


def ask_pid(port):
    """The process id of the worker that answers; None when none does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with closing(connection), suppress(OSError, http.client.HTTPException, ValueError):
        connection.request("GET", "/pid")
        return int(connection.getresponse().read())
    return None


def of_server(server):
    """PSS of all processes of a server in MiB."""
    return sum(size[0] for pid in server.account.pids() if (size := of_process(pid)))


def of_process(pid):
    """PSS and USS (what would be free if the process ended) in MiB; None when it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    kib = {name: int(size) for name, size in re.findall(r"^(\w+): +(\d+) kB$", text, re.MULTILINE)}
    return kib["Pss"] / 1024, (kib["Private_Clean"] + kib["Private_Dirty"]) / 1024
