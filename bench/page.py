"""The tables of docs/benchmarks.md, written anew from a result. Each stands between two comments that name it."""

import re

import contenders
import curves
import measurement
import targets
import workloads

PER = {"pools": ("process group", 1), "headers": ("header", 1), "size": ("KiB", 1024)}  # what growth is given for


def fill(path, result):
    """Replaces every marked part; raises ValueError for a mark that is not known."""
    text = path.read_text(encoding="utf-8")

    def part(found):
        name, _, what = found[1].partition(" ")
        if name not in PARTS:
            raise ValueError(f"{path}: there is no part {found[1]!r}")
        return f"<!-- {found[1]} -->\n{PARTS[name](result, what)}\n<!-- end -->"

    path.write_text(re.sub(r"<!-- (?!end)([\w -]+?) -->\n.*?<!-- end -->", part, text, flags=re.S), encoding="utf-8")


def machine(result, _what):
    """What was measured, where and how."""
    facts, settings = result["machine"], result["settings"]
    text = (
        f"{facts['date']}: {facts['cores']} cores, {facts['system']}, {facts['httpd']}, Python {facts['python']}; "
        f"CPU time from {facts['cpu_meter']}; {settings['rounds']} rounds of {settings['seconds']} s"
    )
    text += f", longer ones for {', '.join(settings['longer'])}." if settings["longer"] else "."
    return f"{text} {disturbance(result['host'])}" if result["host"] else text


def disturbance(host):
    """What the host did to the measurements."""
    return (
        f"The host took {host['stolen']:.1%} of the processors' time (median of the measurements), and more than "
        f"{measurement.MOST_STOLEN:.0%} in {host['disturbed']} of {host['measurements']} measurements, of which each is the "
        f"least disturbed of {measurement.TRIES} at most."
    )


def verdicts(result, _what):
    """A row for each target."""
    rows = []
    for one in result["targets"]:
        best = " (the best)" if one["best_of"] else ""
        floor = one["floor"]
        least = f"{spread(floor['ratio'], 2)}, {floor['contender']}" if floor else ""
        became = "met" if one["met"] else "**missed**" if one["reachable"] else "out of reach"
        rows.append([
            one["workload"], targets.WORDS[one["figure"]], one["contender"], f"{one['reference']}{best}",
            f"≤ {one['limit']}", spread(one["ratio"], 2), least, became,
        ])  # fmt: skip
    return table(["workload", "figure", "of", "in relation to", "target", "measured", "the least", ""], rows)


def workload(result, name):
    """A row for each contender of a workload."""
    columns = [
        ("CPU, µs", "cpu_us", 0), ("less the app's own, µs", "overhead_us", 0), ("× ceiling", "cpu_to_ceiling", 2),
        ("requests/s", "requests_per_second", 0), ("p50, ms", "p50_ms", 2), ("p99, ms", "p99_ms", 1),
        ("PSS of a worker, MiB", "worker_pss_mib", 1), ("USS of a worker, MiB", "worker_uss_mib", 1),
        ("PSS of the server, MiB", "server_pss_mib", 0),
    ]  # fmt: skip
    measured = result["workloads"][name]
    columns = [column for column in columns if any(column[1] in figures for figures in measured.values())]
    rows = [
        [other, *(spread(measured[other].get(key), digits) for _, key, digits in columns)]
        for other in contenders.BY_NAME
        if other in measured
    ]
    return f"{workloads.BY_NAME[name].title}\n\n" + table(["", *(title for title, _, _ in columns)], rows)


def curve(result, name):
    """A row for each line: its ends, and what a unit costs."""
    unit, size = PER.get(name, (None, 1))
    rows = []
    for line, points in result["curves"][name].items():
        first, last = points[0], points[-1]
        row = [line]
        for key in ("cpu_us", "server_pss_mib"):
            ends = [point[key]["median"] for point in (first, last)]
            row += [f"{end:,.0f}" for end in ends]
            if unit:
                row.append(f"{(ends[1] - ends[0]) / (last['x'] - first['x']) * size:.2g}")
        rows.append([row[0], f"{first['x']:,} – {last['x']:,}", *row[1:]])
    ends = ["first", "last", *([f"per {unit}"] if unit else [])]
    head = ["", curves.BY_NAME[name].axis, *(f"CPU, µs: {end}" for end in ends), *(f"PSS, MiB: {end}" for end in ends)]
    return table(head, rows)


def spread(value, digits):
    """A median with the range behind it."""
    if value is None:
        return ""
    middle, low, high = (f"{value[key]:,.{digits}f}" for key in ("median", "lowest", "highest"))
    return middle if low == high else f"{middle} ({low}–{high})"


def table(head, rows):
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


PARTS = {"machine": machine, "targets": verdicts, "workload": workload, "curve": curve}
