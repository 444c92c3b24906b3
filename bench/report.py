"""Figures: kept per round, compared within a round, shown as median with the lowest and the highest."""

import os
import platform
import statistics
import subprocess
import sys
from collections import defaultdict

import contenders
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


class Results:
    """All samples, and what failed or was left out."""

    def __init__(self, options, setup, meter):
        self.options, self.setup, self.meter = options, setup, meter
        # rounds[workload][contender][round] = {figure: value}; a round may be missing
        self.rounds = defaultdict(lambda: defaultdict(dict))
        self.failures, self.left_out, self.notes = [], {}, []

    def add(self, workload, contender, turn, figures):
        """Keeps what one measurement gave."""
        self.rounds[workload][contender][turn] = figures

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

    def as_json(self):
        """The whole result as plain data."""
        return {
            "machine": machine(self.setup, self.meter),
            "settings": {
                "rounds": self.options.rounds,
                "seconds": self.options.seconds,
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
            "left_out": self.left_out,
            "failures": self.failures,
            "notes": self.notes,
            "targets": list(targets.verdicts(self)),
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


def machine(setup, meter):
    """What the figures belong to."""
    version = subprocess.run([setup.httpd, "-v"], capture_output=True, text=True, check=False).stdout
    return {
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg(),
        "httpd": version.splitlines()[0].partition(": ")[2] if version else "unknown",
        "python": f"{setup.python.version} ({setup.python.executable})",
        "modules": {family: str(path) for family, path in sorted(setup.modules.items())},
        "cpu_meter": meter.name,
    }


COLUMNS = (
    ("CPU us/request", "cpu_us", 0),
    ("of it not the app's", "overhead_us", 0),
    ("requests/s", "requests_per_second", 0),
    ("p50 ms", "p50_ms", 2),
    ("p99 ms", "p99_ms", 1),
    ("less 5 ms", "waiting_ms", 1),
    ("CPU/ceiling", "cpu_to_ceiling", 2),
    ("CPU/mod_wsgi", "cpu_us_to_mod_wsgi", 2),
    ("not the app's/mod_wsgi", "overhead_us_to_mod_wsgi", 2),
    ("p99/mod_wsgi", "p99_ms_to_mod_wsgi", 2),
    ("worker's PSS MiB", "worker_pss_mib", 1),
    ("worker's USS MiB", "worker_uss_mib", 1),
    ("whole server's PSS MiB", "server_pss_mib", 1),
    ("PSS/mod_wsgi", "worker_pss_mib_to_mod_wsgi", 2),
)


def print_table(results, workload):
    """One workload: a line per contender, columns that nobody has left out."""
    rows = {name: results.row(workload.name, name) for name in results.rounds[workload.name]}
    rows = {name: rows[name] for name in contenders.BY_NAME if rows.get(name)}
    columns = [column for column in COLUMNS if any(column[1] in row for row in rows.values())]
    table = [["", *(title for title, _, _ in columns)]]
    for name, row in rows.items():
        table.append([name, *(row[key].text(digits) if key in row else "" for _, key, digits in columns)])
    widths = [max(map(len, cells)) for cells in zip(*table)]
    asked = "" if workload.idle else f"{workload.connections} connection{'s' * (workload.connections > 1)}, "
    print(f"\n{workload.name}: {workload.title}; {asked}median (lowest-highest) of the rounds")
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    for note in results.notes:
        if note["workload"] == workload.name:
            print(f"note: {note['contender']} {note['text']}")
    if not rows:
        print("nobody was measured")
    sys.stdout.flush()


def progress(workload, turn, turns):
    """A sign of life for a person who watches."""
    if sys.stderr.isatty():
        print(f"\r{workload}: round {turn} of {turns} ", end="\n" if turn == turns else "", file=sys.stderr, flush=True)


def print_end(results):
    """The machine, the failures, and what became of the targets."""
    facts = machine(results.setup, results.meter)
    print(f"\n{facts['httpd']}; Python {facts['python']}; {facts['cores']} cores; CPU time from {facts['cpu_meter']}")
    for failure in results.failures:
        print(f"FAILED: {failure['contender']}, {failure['workload'] or 'at start'}: {failure['reason']}")
    verdicts = list(targets.verdicts(results))
    if verdicts:
        print("\nTargets: the ratio to the other one in the same round, median (lowest-highest) of the rounds")
    for verdict in verdicts:
        print_verdict(verdict)
    print(f"{sum(v['met'] for v in verdicts)} of {len(verdicts)} met; {len(targets.ALL) - len(verdicts)} not measured")


def print_verdict(verdict):
    """A target in a line."""
    ratio = Spread(verdict["ratio"].values()).text(2)
    best = ", the best of its kind" if verdict["best_of"] else ""
    what = f"{verdict['workload']}, {targets.WORDS[verdict['figure']]}"
    word = "met   " if verdict["met"] else "missed"
    print(f"{word}  {what:34}  {verdict['contender']:20}  {ratio} x {verdict['reference']}{best}; target {verdict['limit']}")
