//! The text that Prometheus reads, version 0.0.4: families one after the other, each with its help and its samples.

use std::fmt::Write;

/// What the answer is said to be.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of numbers a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// Text under way.
#[derive(Debug, Default)]
pub struct Exposition(String);

/// How many values lie at or below each upper bound, and their sum.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// By the first bound that a value does not exceed; the last place is above all bounds.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// An empty one; `bounds` rise.
    pub fn new(bounds: &'static [f64]) -> Histogram {
        Histogram { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    pub fn add(&mut self, value: f64) {
        self.counts[self.bounds.partition_point(|bound| *bound < value)] += 1;
        self.sum += value;
    }
}

/// A family that takes samples.
pub struct Family<'text> {
    text: &'text mut String,
    name: &'static str,
}

impl Exposition {
    /// Begins a family. Each is begun once.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing into a text cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
        Family { text: &mut self.0, name }
    }

    /// A family of one number.
    pub fn single(&mut self, name: &'static str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help).sample(&[], value);
    }

    pub fn into_text(self) -> String {
        self.0
    }
}

impl Family<'_> {
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.line("", labels, value);
    }

    pub fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) {
        let mut total = 0;
        for (index, count) in histogram.counts.iter().enumerate() {
            total += count;
            let bound = histogram.bounds.get(index).map_or("+Inf".to_string(), f64::to_string);
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.line("_bucket", &labels, total as f64);
        }
        self.line("_sum", labels, histogram.sum);
        self.line("_count", labels, total as f64);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let label = |(name, value): &(&str, &str)| {
            format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
        };
        let labels = labels.iter().map(label).collect::<Vec<_>>().join(",");
        let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        let value = match value {
            value if value.is_nan() => "NaN".to_string(),
            f64::INFINITY => "+Inf".to_string(),
            f64::NEG_INFINITY => "-Inf".to_string(),
            value => value.to_string(),
        };
        let _ = writeln!(self.text, "{}{suffix}{labels} {value}", self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_prometheus_reads_them() {
        let mut exposition = Exposition::default();
        let mut rows = exposition.family("rows_total", Kind::Counter, "Rows.\nA \\ line.");
        rows.sample(&[("job", "daily"), ("source", "a\\b\"c\nd")], 12_345.0);
        rows.sample(&[], f64::INFINITY);
        let mut histogram = Histogram::new(&[0.5, 1.0]);
        [0.25, 0.5, 0.75, 40.0].into_iter().for_each(|seconds| histogram.add(seconds));
        exposition.family("seconds", Kind::Histogram, "Time.").histogram(&[("route", "/")], &histogram);
        let expected = "# HELP rows_total Rows.\\nA \\\\ line.\n\
            # TYPE rows_total counter\n\
            rows_total{job=\"daily\",source=\"a\\\\b\\\"c\\nd\"} 12345\n\
            rows_total +Inf\n\
            # HELP seconds Time.\n\
            # TYPE seconds histogram\n\
            seconds_bucket{route=\"/\",le=\"0.5\"} 2\n\
            seconds_bucket{route=\"/\",le=\"1\"} 3\n\
            seconds_bucket{route=\"/\",le=\"+Inf\"} 4\n\
            seconds_sum{route=\"/\"} 41.5\n\
            seconds_count{route=\"/\"} 4\n";
        assert_eq!(exposition.into_text(), expected);
    }
}
