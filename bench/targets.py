"""What the measured ratios should be, and whether they are. A target is a figure of ours in relation to another's."""

from dataclasses import dataclass

# Who runs Python in processes of its own behind httpd, as our daemon mode does.
PEERS = ("mod_wsgi-daemon", "gunicorn", "granian", "uwsgi", "uwsgi-http", "passenger")
# Who shows how low a figure of ours can be: the first that was measured.
LEAST = {"rwsgi-embedded": ("least-embedded", "ceiling"), "rwsgi-daemon": ("least-daemon", "ceiling")}
WORDS = {
    "cpu_us": "CPU",
    "overhead_us": "CPU less the app's own",
    "p50_ms": "p50",
    "p99_ms": "p99",
    "waiting_ms": "p99 less the app's 5 ms",
    "worker_pss_mib": "PSS of a worker",
}


@dataclass(frozen=True)
class Target:
    """At most `limit` times the figure of the reference, or of the best of several."""

    workload: str
    figure: str
    contender: str
    limit: float
    references: tuple

    def reference(self, results):
        """The reference that has the lowest median; None when none was measured."""
        medians = {}
        for name in self.references:
            if spread := results.figure(self.workload, name, self.figure):
                medians[name] = spread.median
        return min(medians, key=medians.get, default=None)

    def floor(self, results):
        """What the contender of its kind that does the least comes to, as (Spread, name); None when none was measured."""
        reference = self.reference(results)
        for name in LEAST.get(self.contender, ()):
            if reference and (spread := results.ratio(self.workload, name, reference, self.figure)):
                return spread, name
        return None

    def ratio(self, results):
        """The measured ratio as (Spread, name of the reference); None when it was not measured."""
        name = self.reference(results)
        spread = results.ratio(self.workload, self.contender, name, self.figure) if name else None
        return (spread, name) if spread else None


def both(workload, figure, embedded, of, daemon, of_daemon):
    """The targets of the two modes."""
    yield Target(workload, figure, "rwsgi-embedded", embedded, of)
    yield Target(workload, figure, "rwsgi-daemon", daemon, of_daemon)


CEILING, STATIC = ("ceiling",), ("static",)
EMBEDDED, DAEMON = ("mod_wsgi-embedded",), ("mod_wsgi-daemon",)

ALL = [
    *both("hello", "cpu_us", 1.4, CEILING, 1.8, CEILING),
    *both("headers", "cpu_us", 1.5, CEILING, 1.9, CEILING),
    *both("one-client", "p50_ms", 1.3, CEILING, 2.2, CEILING),
    Target("one-client", "cpu_us", "rwsgi-daemon", 0.5, DAEMON),
    *both("body", "cpu_us", 0.8, EMBEDDED, 0.45, PEERS),
    *both("chunks", "cpu_us", 0.4, EMBEDDED, 0.5, PEERS),
    *both("file", "cpu_us", 1.15, STATIC, 1.2, STATIC),
    *both("upload", "cpu_us", 0.8, EMBEDDED, 0.6, PEERS),
    *both("django", "overhead_us", 0.5, EMBEDDED, 0.35, DAEMON),
    *both("flask", "overhead_us", 0.5, EMBEDDED, 0.35, DAEMON),
    *both("hello", "p99_ms", 0.5, EMBEDDED, 0.5, DAEMON),
    *both("sleep", "p99_ms", 0.5, EMBEDDED, 0.5, DAEMON),
    *both("sleep", "waiting_ms", 0.5, EMBEDDED, 0.5, DAEMON),
    Target("memory", "worker_pss_mib", "rwsgi-daemon", 1.0, DAEMON),
    Target("memory", "worker_pss_mib", "rwsgi-daemon-preload", 0.25, DAEMON),
]


def verdicts(results):
    """For each target that was measured what it came to, as plain data."""
    for target in ALL:
        if measured := target.ratio(results):
            spread, reference = measured
            floor = target.floor(results)
            met = is_within(spread, target.limit)
            yield {
                "workload": target.workload,
                "figure": target.figure,
                "contender": target.contender,
                "reference": reference,
                "best_of": len(target.references) > 1,
                "limit": target.limit,
                "ratio": vars(spread),
                "floor": {"contender": floor[1], "ratio": vars(floor[0])} if floor else None,
                "met": met,
                "reachable": met or not floor or is_within(floor[0], target.limit),
            }


def is_within(spread, limit):
    """Whether a ratio, as it is shown, meets a target."""
    return round(spread.median, 2) <= limit
