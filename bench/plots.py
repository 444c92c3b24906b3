"""Pictures of curves: CPU time per request on the left, memory on the right."""

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot, ticker  # noqa: E402

import curves  # noqa: E402

SCALES = {"pools": "log", "threads": "log", "headers": "linear", "size": "log"}  # of x
STEEP = {("size", "cpu_us"), ("pools", "server_pss_mib")}  # where y has a logarithmic scale, too
PANELS = (("cpu_us", "CPU time of the server per request, µs"), ("server_pss_mib", "memory of the server (PSS), MiB"))
LOOKS = {  # of lines that have a name elsewhere
    "ceiling": ("#777777", "-"),
    "mod_wsgi-embedded": ("#d95f02", "--"),
    "mod_wsgi-daemon": ("#d95f02", "-"),
    "rwsgi-embedded": ("#1f5fa8", "--"),
    "rwsgi-daemon": ("#1f5fa8", "-"),
}
COLOURS = ("#b7d0ea", "#7fabd6", "#3f7fbf", "#0b3d73")
pyplot.rcParams.update({
    "svg.fonttype": "none",  # text stays text, and the file small
    "svg.hashsalt": "rwsgi",  # the same figures give the same file
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
})


def draw(name, lines, path):
    """Writes one curve's picture."""
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, (key, title) in zip(axes, PANELS):
        for number, (line, points) in enumerate(lines.items()):
            colour, style = LOOKS.get(line, (COLOURS[number % len(COLOURS)], "-"))
            xs, spreads = [point["x"] for point in points], [point[key] for point in points]
            middle = [spread["median"] for spread in spreads]
            axis.fill_between(
                xs, [s["lowest"] for s in spreads], [s["highest"] for s in spreads], color=colour, alpha=0.15, lw=0
            )
            axis.plot(xs, middle, style, color=colour, marker="o", markersize=3, label=line)
        axis.set_xscale(SCALES[name])
        axis.set_yscale("log" if (name, key) in STEEP else "linear")
        if (name, key) not in STEEP:
            axis.set_ylim(bottom=0)
        axis.set_xticks([point["x"] for point in max(lines.values(), key=len)])
        axis.xaxis.set_major_formatter(short)
        axis.yaxis.set_major_formatter("{x:,.0f}")
        axis.xaxis.set_minor_locator(ticker.NullLocator())
        axis.set_xlabel(curves.BY_NAME[name].axis)
        axis.set_title(title, fontsize=9)
        axis.grid(axis="y", color="#dddddd", lw=0.5)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def short(x, _position):
    """A number of an axis, bytes in binary units."""
    for unit, name in ((1 << 20, " Mi"), (1 << 10, " Ki")):
        if x >= unit and x % unit == 0:
            return f"{x / unit:.0f}{name}"
    return f"{x:,.0f}"
