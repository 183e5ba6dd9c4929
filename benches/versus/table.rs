//! Figures of ours, and how the others' compare.

use serde_json::{Value, json};

use crate::peers::Peer;

/// Something that is measured.
#[derive(Debug)]
pub struct Metric {
    /// Heads the column of our own figures.
    title: &'static str,
    /// Heads the columns of ratios.
    ratio: Option<(&'static str, Better)>,
    digits: usize,
}

#[derive(Debug, Clone, Copy)]
enum Better {
    More,
    Less,
}

impl Metric {
    pub const fn more(title: &'static str, ratio: &'static str, digits: usize) -> Self {
        Self { title, ratio: Some((ratio, Better::More)), digits }
    }

    pub const fn less(title: &'static str, ratio: &'static str, digits: usize) -> Self {
        Self { title, ratio: Some((ratio, Better::Less)), digits }
    }

    /// Its ratio is that of another one.
    pub const fn only(title: &'static str, digits: usize) -> Self {
        Self { title, ratio: None, digits }
    }
}

/// What a case came to.
pub struct Row {
    pub case: String,
    pub metrics: &'static [Metric],
    /// The first one is compared with each other one.
    pub peers: Vec<Peer>,
    /// Of each peer, of each round, of each metric.
    pub samples: Vec<Vec<Vec<f64>>>,
}

const CASE: usize = 36;
const FIGURE: usize = 13;
const RATIO: usize = 9;

/// What the table is, above it.
pub fn caption() -> &'static str {
    "Ratios: how many times better ours is, 1.00 is even, `<` marks where it is worse. Each is the median of the rounds; in a\n\
     round the servers do the same work one after another. CPU and memory are the servers' own, with all their processes;\n\
     memory is what they share with nobody. `upstream` is bytes asked from it, in sizes of the file. NaN: too little to measure."
}

/// The head of the rows that have these metrics.
pub fn head(metrics: &[Metric], peers: &[Peer]) -> String {
    let compared: Vec<_> = metrics.iter().filter_map(|metric| metric.ratio).collect();
    let mut above = format!("{:CASE$}{:>width$}", "", peers[0], width = FIGURE * metrics.len());
    let mut below = format!("{:CASE$}", "");
    for metric in metrics {
        below += &format!("{:>FIGURE$}", metric.title);
    }
    for peer in &peers[1..] {
        above += &format!(" | {:>width$}", format!("than {peer}"), width = RATIO * compared.len());
        below += " | ";
        for (title, _) in &compared {
            below += &format!("{title:>RATIO$}");
        }
    }
    format!("{above}\n{below}")
}

impl Row {
    /// Below [`head`].
    pub fn line(&self) -> String {
        let mut line = format!("{:CASE$}", self.case);
        for (nth, metric) in self.metrics.iter().enumerate() {
            line += &format!("{:>FIGURE$.*}", metric.digits, self.figure(0, nth));
        }
        for peer in 1..self.peers.len() {
            line += " | ";
            for ratio in (0..self.metrics.len()).filter_map(|nth| self.ratio(peer, nth)) {
                let mark = if ratio < 0.995 { '<' } else { ' ' };
                line += &format!("{ratio:>width$.2}{mark}", width = RATIO - 1);
            }
        }
        line
    }

    pub fn json(&self) -> Value {
        let titles = || self.metrics.iter().map(|metric| metric.title).enumerate();
        let of = |peer: usize| {
            let figures: Value =
                titles().map(|(nth, title)| (title.to_owned(), json!(self.figure(peer, nth)))).collect();
            let ratios: Value =
                titles().filter_map(|(nth, title)| Some((title.to_owned(), json!(self.ratio(peer, nth)?)))).collect();
            json!({ "median": figures, "ours_is_better_by": ratios })
        };
        let peers: Value = self.peers.iter().enumerate().map(|(nth, peer)| (peer.to_string(), of(nth))).collect();
        json!({ "case": self.case, "servers": peers })
    }

    fn figure(&self, peer: usize, metric: usize) -> f64 {
        median(self.samples[peer].iter().map(|sample| sample[metric]).collect())
    }

    fn ratio(&self, peer: usize, metric: usize) -> Option<f64> {
        let (_, better) = self.metrics[metric].ratio?;
        let rounds = self.samples[0].iter().zip(&self.samples[peer]);
        Some(median(rounds.map(|(ours, theirs)| better.by(ours[metric], theirs[metric])).collect()))
    }
}

impl Better {
    fn by(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Self::More => ours / theirs,
            Self::Less => theirs / ours,
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let (below, above) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    f64::midpoint(below, above)
}
