"""Figures: kept per round, compared within a round, shown as median with the lowest and the highest."""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections import defaultdict

import contenders
import measurement
import targets

# All that may be known of a round. cpu_us: of the whole server for one request; own_us: of it, what the application
# says it has spent itself; overhead_us: the rest; waiting_ms: p99 less what the application sleeps.
FIGURES = (
    "cpu_us",
    "own_us",
    "overhead_us",
    "requests_per_second",
    "p50_ms",
    "p99_ms",
    "waiting_ms",
    "worker_pss_mib",
    "worker_uss_mib",
    "server_pss_mib",
)
CURVE_FIGURES = ("cpu_us", "server_pss_mib")


class Results:
    """All samples, and what failed or was left out."""

    def __init__(self, options, setup, meter):
        self.options, self.setup, self.meter = options, setup, meter
        # rounds[workload][contender][round] = {figure: value}; a round may be missing
        self.rounds = defaultdict(lambda: defaultdict(dict))
        # curves[curve][line][x][round] = {figure: value}
        self.curves = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
        self.failures, self.left_out, self.notes = [], {}, []

    def add(self, workload, contender, turn, figures):
        """Keeps what one measurement gave."""
        self.rounds[workload][contender][turn] = figures

    def add_to_curve(self, curve, point, turn, figures):
        """Keeps what one measurement of a point of a curve gave."""
        self.curves[curve.name][point.line][point.x][turn] = figures

    def point(self, curve, line, x, figure):
        """A figure of a point over the rounds; None when it was not measured."""
        return Spread.of(sample[figure] for sample in self.curves[curve][line].get(x, {}).values())

    def note(self, contender, workload, text):
        """Notes what a reader of the figures must know, and is no failure."""
        self.notes.append({"contender": contender, "workload": workload, "text": text})

    def fail(self, contender, workload, reason):
        """Notes a contender that did not answer correctly; `workload` is None when it did not even start."""
        self.failures.append({"contender": contender, "workload": workload, "reason": reason})
        print(f"bench: FAILED {contender} {workload or 'at start'}: {reason}", file=sys.stderr, flush=True)

    def leave_out(self, contender, reason):
        """Notes a contender whose module is not there."""
        self.left_out[contender] = reason
        print(f"bench: without {contender}: {reason}", file=sys.stderr, flush=True)

    def samples(self, workload, contender):
        """What was measured of a contender, by round; empty when it did not take part."""
        return self.rounds[workload].get(contender, {})

    def figure(self, workload, contender, figure):
        """One figure over the rounds; None when it was never measured."""
        samples = self.samples(workload, contender).values()
        return Spread.of(sample[figure] for sample in samples if figure in sample)

    def ratio(self, workload, contender, peer, figure):
        """One figure in relation to another contender's of the same round; None when there is no common round."""
        ours, theirs = (self.samples(workload, name) for name in (contender, peer))
        common = [turn for turn in ours if figure in ours[turn] and theirs.get(turn, {}).get(figure)]
        return Spread.of(ours[turn][figure] / theirs[turn][figure] for turn in common)

    def row(self, workload, contender):
        """Everything known about a contender in a workload."""
        row = {figure: self.figure(workload, contender, figure) for figure in FIGURES}
        row["cpu_to_ceiling"] = self.ratio(workload, contender, "ceiling", "cpu_us")
        row["p50_to_ceiling"] = self.ratio(workload, contender, "ceiling", "p50_ms")
        peer = contenders.BY_NAME[contender].peer
        if peer and peer != contender:
            for figure in FIGURES:
                row[f"{figure}_to_mod_wsgi"] = self.ratio(workload, contender, peer, figure)
        return {name: spread for name, spread in row.items() if spread}

    def host(self):
        """What the host took of the processors' time, as a share, over all measurements of workloads; None without any."""
        tables = [samples for table in self.rounds.values() for samples in table.values()]
        stolen = [sample["stolen"] for samples in tables for sample in samples.values() if "stolen" in sample]
        if not stolen:
            return None
        disturbed = sum(share > measurement.MOST_STOLEN for share in stolen)
        return {"stolen": statistics.median(stolen), "disturbed": disturbed, "measurements": len(stolen)}

    def as_json(self):
        """The whole result as plain data."""
        return shortened(self._whole())

    def _whole(self):
        return {
            "machine": machine(self.setup, self.meter),
            "host": self.host(),
            "settings": {
                "rounds": self.options.rounds,
                "seconds": self.options.seconds,
                "longer": [one.name for one in self.options.workloads if one.latency and self.options.longer],
                "connections": {workload.name: workload.connections for workload in self.options.workloads},
            },
            "workloads": {
                workload: {
                    contender: {
                        **{name: vars(spread) for name, spread in self.row(workload, contender).items()},
                        "rounds": list(samples.values()),
                    }
                    for contender, samples in table.items()
                    if samples
                }
                for workload, table in self.rounds.items()
            },
            "curves": {curve: self.curve_as_json(curve) for curve in self.curves},
            "left_out": self.left_out,
            "failures": self.failures,
            "notes": self.notes,
            "targets": list(targets.verdicts(self)),
        }


    def curve_as_json(self, curve):
        """The lines of a curve as lists of points."""
        return {
            line: [{"x": x, **{name: vars(self.point(curve, line, x, name)) for name in CURVE_FIGURES}} for x in points]
            for line, points in self.curves[curve].items()
        }


class Spread:
    """Median, lowest and highest of a figure over the rounds."""

    def __init__(self, values):
        self.median, self.lowest, self.highest = statistics.median(values), min(values), max(values)

    @classmethod
    def of(cls, values):
        """None without values."""
        values = list(values)
        return cls(values) if values else None

    def text(self, digits):
        """The median, and the range behind it if there is one."""
        if self.lowest == self.highest:
            return f"{self.median:,.{digits}f}"
        low, high = (f"{value:,.{digits}f}" for value in (self.lowest, self.highest))
        return f"{self.median:,.{digits}f} ({low}-{high})"


def shortened(data):
    """The same data with as many digits as mean something."""
    if isinstance(data, dict):
        return {name: shortened(value) for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [shortened(value) for value in data]
    return float(f"{data:.5g}") if isinstance(data, float) else data


def machine(setup, meter):
    """What the figures belong to. No paths: it may be published."""
    version = subprocess.run([setup.httpd, "-v"], capture_output=True, text=True, check=False).stdout
    return {
        "date": time.strftime("%Y-%m-%d"),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "httpd": version.splitlines()[0].partition(": ")[2] if version else "unknown",
        "python": setup.python.version,
        "cpu_meter": meter.name,
    }
