"""How cost grows: CPU time per request and memory of the whole server against one setting, all else being equal."""

import random
from dataclasses import dataclass
from dataclasses import replace as other

import contenders
import measurement
import memory
from server import Failed, Server
from workloads import BODY, HELLO, KIB, MIB, Workload

ROUNDS = 3  # at most, for each point
DAEMONS = 100  # mod_wsgi starts the processes of all its pools at once: more of them only fill the machine
FIVE = ("ceiling", "mod_wsgi-embedded", "rwsgi-embedded", "mod_wsgi-daemon", "rwsgi-daemon")


@dataclass(frozen=True)
class Point:
    """Where on which line, and what is measured for it."""

    line: str
    x: int
    contender: contenders.Contender
    workload: Workload


@dataclass(frozen=True)
class Curve:
    """A figure: its points are measured in the order of x, those of one x in turn."""

    name: str
    title: str
    axis: str
    points: tuple


def pools():
    """One pool is asked, the last that is configured; the others are not."""
    hello = Workload("pools", "", HELLO, target="/hello")
    for count in (1, 10, 100, 1_000, 10_000):
        for name in ("mod_wsgi-daemon", "rwsgi-daemon"):
            if name == "rwsgi-daemon" or count <= DAEMONS:
                one = other(contenders.BY_NAME[name], name=f"{name}.{count}", processes=1, idle_pools=count - 1)
                yield Point(name, count, one, hello)


def threads():
    """Processes and threads of the pool that is asked by 16 clients."""
    hello = Workload("threads", "", HELLO, target="/hello")
    for count in (1, 2, 4, 8, 16):
        for processes in (1, 2, 4, 8):
            name = f"rwsgi-daemon.{processes}x{count}"
            one = other(contenders.BY_NAME["rwsgi-daemon"], name=name, processes=processes, threads=count)
            yield Point(f"{processes} process{'es' * (processes > 1)}", count, one, hello)


def headers():
    """Request headers of 32 bytes each, beside Host."""
    values = random.Random(2)
    for count in (0, 10, 20, 40, 80):
        sent = {f"X-Measured-{n:02}": values.randbytes(8).hex() for n in range(count)}
        hello = Workload(f"headers-{count}", "", HELLO, sent, target="/hello")
        for name in FIVE:
            yield Point(name, count, other(contenders.BY_NAME[name], name=f"{name}.headers"), hello)


def size():
    """Answers of the application in one piece."""
    for length in (KIB, 16 * KIB, 128 * KIB, MIB, 4 * MIB, 16 * MIB):
        answer = (BODY * (length // MIB + 1))[:length]
        body = Workload(f"size-{length}", "", answer, target=f"/size?{length}")
        for name in FIVE:
            yield Point(name, length, other(contenders.BY_NAME[name], name=f"{name}.size"), body)


BY_NAME = {
    curve.name: curve
    for curve in [
        Curve("pools", "process groups that are configured", "process groups, of which one is asked", tuple(pools())),
        Curve("threads", "processes and threads of the asked group", "threads of each process", tuple(threads())),
        Curve("headers", "request headers", "request headers of 32 bytes", tuple(headers())),
        Curve("size", "size of the answer", "bytes of the answer", tuple(size())),
    ]
}


def measure(curve, setup, meter, options, results):
    """Measures all points of a curve; a contender runs from its first point to its last."""
    wanted = {one.family for one in options.contenders}
    points = [point for point in curve.points if point.contender.family in wanted & setup.modules.keys()]
    running = {}
    try:
        for x in dict.fromkeys(point.x for point in points):
            group = [point for point in points if point.x == x]
            for name in set(running) - {point.contender.name for point in group}:
                running.pop(name).stop()
            ready = [point for point in group if start(point, running, setup, meter, results)]
            for turn in range(min(options.rounds, ROUNDS)):
                for point in ready:
                    measure_point(curve, point, turn, running[point.contender.name], options, results)
    finally:
        for server in running.values():
            server.stop()


def start(point, running, setup, meter, results):
    """Sees to it that the point's server runs and answers."""
    name = point.contender.name
    try:
        if name not in running:
            running[name] = Server(point.contender, setup, meter)
            running[name].start()
        wrong = point.workload.check(running[name].port)
    except Failed as error:
        wrong = str(error)
    if wrong:
        results.fail(name, point.workload.name, wrong)
    return not wrong


def measure_point(curve, point, turn, server, options, results):
    """One sample of a point."""
    try:
        cpu_us = measurement.once(server, point.workload, options.seconds)["cpu_us"]
    except Failed as error:
        results.fail(server.name, point.workload.name, str(error))
    else:
        figures = {"cpu_us": cpu_us, "server_pss_mib": memory.of_server(server)}
        results.add_to_curve(curve, point, turn, figures)
