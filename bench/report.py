"""What a person reads: a table for each workload and each curve, and at the end what became of the targets."""

import sys

import contenders
import targets
from results import CURVE_FIGURES, Spread, machine

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
    asked = "" if workload.idle else f"{workload.connections} connection{'s' * (workload.connections > 1)}, "
    print(f"\n{workload.name}: {workload.title}; {asked}median (lowest-highest) of the rounds")
    print_columns(table)
    for note in results.notes:
        if note["workload"] == workload.name:
            print(f"note: {note['contender']} {note['text']}")
    if not rows:
        print("nobody was measured")
    sys.stdout.flush()


def print_curve(results, curve):
    """A line for each x: CPU time per request and memory of each line of the curve."""
    lines = list(results.curves[curve.name])
    xs = sorted({x for line in lines for x in results.curves[curve.name][line]})
    table = [[curve.axis, *lines]]
    for x in xs:
        cells = [[results.point(curve.name, line, x, figure) for figure in CURVE_FIGURES] for line in lines]
        texts = [f"{cpu.median:,.0f} us, {pss.median:,.0f} MiB" if cpu else "" for cpu, pss in cells]
        table.append([f"{x:,}", *texts])
    print(f"\ncurve {curve.name}: CPU time per request and PSS of the whole server against {curve.title}")
    print_columns(table)


def print_columns(table):
    """Rows of cells, each column as wide as it must be."""
    widths = [max(map(len, cells)) for cells in zip(*table)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip(), flush=True)


def progress(workload, turn, turns):
    """A sign of life for a person who watches."""
    if sys.stderr.isatty():
        print(f"\r{workload}: round {turn} of {turns} ", end="\n" if turn == turns else "", file=sys.stderr, flush=True)


def print_end(results):
    """The machine, the failures, and what became of the targets."""
    facts = machine(results.setup, results.meter)
    python = f"{facts['python']} ({results.setup.python.executable})"
    print(f"\n{facts['httpd']}; Python {python}; {facts['cores']} cores; CPU time from {facts['cpu_meter']}")
    if host := results.host():
        taken = f"{host['stolen']:.1%} of the processors' time in the median"
        print(f"the host took {taken}, and too much in {host['disturbed']} of {host['measurements']} measurements")
    for failure in results.failures:
        print(f"FAILED: {failure['contender']}, {failure['workload'] or 'at start'}: {failure['reason']}")
    verdicts = list(targets.verdicts(results))
    if verdicts:
        print("\nTargets: the ratio to the other one in the same round, median (lowest-highest) of the rounds")
    for verdict in verdicts:
        print_verdict(verdict)
    beyond = sum(not v["reachable"] for v in verdicts)
    print(
        f"{sum(v['met'] for v in verdicts)} of {len(verdicts)} met, {beyond} out of reach; "
        f"{len(targets.ALL) - len(verdicts)} not measured"
    )


def print_verdict(verdict):
    """A target in a line."""
    ratio = Spread(verdict["ratio"].values()).text(2)
    best = ", the best of its kind" if verdict["best_of"] else ""
    what = f"{verdict['workload']}, {targets.WORDS[verdict['figure']]}"
    word = "met" if verdict["met"] else "missed" if verdict["reachable"] else "out of reach"
    reference, limit = verdict["reference"] + best, verdict["limit"]
    floor = verdict["floor"]
    least = f"; {floor['contender']} {Spread(floor['ratio'].values()).text(2)}" if floor and not verdict["met"] else ""
    print(f"{word:12}  {what:34}  {verdict['contender']:20}  {ratio} x {reference}; target {limit}{least}")
