//! How long one phase of requests took.

/// Counters of a distribution.
pub const BUCKETS: usize = 65;

/// Sum, extremes and distribution, in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Phase {
    /// Of all.
    pub sum: u64,
    /// How many.
    pub count: u64,
    /// The least.
    pub min: Option<u64>,
    /// The most.
    pub max: Option<u64>,
    /// The first is for everything below 1.25 ms, the last for 65.536 s and more; between them are octaves from 1 ms, each in quarters.
    pub buckets: [u64; BUCKETS],
}

impl Default for Phase {
    fn default() -> Self {
        Self {
            sum: 0,
            count: 0,
            min: None,
            max: None,
            buckets: [0; BUCKETS],
        }
    }
}

impl Phase {
    /// One more.
    pub fn add(&mut self, micros: u64) {
        self.sum = self.sum.saturating_add(micros);
        self.count += 1;
        self.min = Some(self.min.map_or(micros, |min| min.min(micros)));
        self.max = Some(self.max.map_or(micros, |max| max.max(micros)));
        if let Some(bucket) = self.buckets.get_mut(bucket_of(micros)) {
            *bucket += 1;
        }
    }

    /// Seconds on average; `None` without any.
    pub fn mean(&self) -> Option<f64> {
        // Sums stay far below 2^53.
        (self.count > 0).then(|| self.sum as f64 / self.count as f64 / 1e6)
    }
}

fn bucket_of(micros: u64) -> usize {
    let Some(octave) = (micros / 1000).checked_ilog2() else {
        return 0;
    };
    if octave >= 16 {
        return BUCKETS - 1;
    }
    let start = 1000 << octave;
    let quarter = (micros - start) / (start / 4);
    octave as usize * 4 + usize::try_from(quarter).unwrap_or(3).min(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_quarters_of_octaves_from_one_millisecond() {
        for (micros, bucket) in [
            (0, 0),
            (999, 0),
            (1249, 0),
            (1250, 1),
            (1750, 3),
            (1999, 3),
            (2000, 4),
            (2500, 5),
            (300_000, 32),
            (65_535_999, 63),
            (65_536_000, 64),
            (u64::MAX, 64),
        ] {
            assert_eq!(bucket_of(micros), bucket, "{micros}");
        }
    }

    #[test]
    fn a_phase_without_requests_has_no_extremes() {
        let mut phase = Phase::default();
        assert_eq!((phase.mean(), phase.min, phase.max), (None, None, None));
        phase.add(100);
        phase.add(300);
        assert_eq!(
            (phase.mean(), phase.min, phase.max),
            (Some(0.0002), Some(100), Some(300))
        );
    }
}
