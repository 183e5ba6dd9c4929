//! Our mirror, nginx and apt-cacher-ng doing the same work in the same run, and one table of ratios.
//!
//! Absolute figures say more about a machine than about a server; that is why every claim about speed is a ratio of two
//! servers that took turns on one machine. The clients and the upstream are threads of this program. Each server is a process
//! of its own, so that its processor time and memory can be read from outside; ours is this program once more
//! ([`peers::ours`]), with the listener and the mirror that `provisioner` itself has. All of them are started anew for every
//! round, on loopback, on folders that vanish with the run (`TMPDIR` says where: it takes 5 GB).

#![allow(clippy::print_stdout, reason = "the table is what it is for")]

mod cases;
mod content;
mod load;
mod peers;
mod process;
mod table;
mod upstream;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Parser;

use self::{
    cases::{Bench, Case, Effort, Work},
    peers::Peer,
    table::Metric,
    upstream::Upstream,
};

/// Compares our mirror with nginx and apt-cacher-ng.
#[derive(Parser)]
struct Arguments {
    /// Only the cases whose names contain one of these: "hit", "1 GB", "50 clients" …
    only: Vec<String>,
    /// Smaller files, shorter rounds: to see that it works
    #[arg(long)]
    quick: bool,
    /// Rounds of every case
    #[arg(long)]
    rounds: Option<usize>,
    /// One JSON object a line, in place of the table
    #[arg(long)]
    json: bool,
    /// Be our server, on this folder
    #[arg(long, hide = true, requires = "upstream")]
    serve: Option<PathBuf>,
    #[arg(long, hide = true)]
    upstream: Option<SocketAddr>,
    /// What cargo says to a benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match (arguments.serve, arguments.upstream) {
        (Some(folder), Some(upstream)) => peers::ours::serve(folder, upstream),
        _ => compare(&Arguments { serve: None, ..arguments }),
    }
}

fn compare(arguments: &Arguments) -> anyhow::Result<()> {
    let (here, missing): (Vec<_>, Vec<_>) = Peer::ALL.into_iter().partition(|peer| peer.is_installed());
    for peer in missing {
        eprintln!("{peer} is not installed: it is left out (.ci/setup bench installs it)");
    }
    let folder = tempfile::tempdir().context("making a folder")?;
    let bench = Bench {
        upstream: Upstream::start().context("starting the upstream")?,
        folder: folder.path().to_owned(),
        peers: here,
        effort: arguments.effort(),
    };
    if !arguments.json {
        println!("{}", table::caption());
    }
    let mut headed: &[Metric] = &[];
    for case in arguments.cases() {
        let row = bench.measure(case)?;
        if arguments.json {
            println!("{}", row.json());
            continue;
        }
        if !std::ptr::eq(headed, row.metrics) {
            headed = row.metrics;
            println!("\n{}", table::head(headed, &row.peers));
        }
        println!("{}", row.line());
    }
    Ok(())
}

impl Arguments {
    fn effort(&self) -> Effort {
        let millis = Duration::from_millis;
        let usual = if self.quick {
            Effort { warm_up: millis(50), window: millis(250), rounds: 3, rounds_of_misses: 1 }
        } else {
            Effort { warm_up: millis(200), window: millis(1000), rounds: 5, rounds_of_misses: 3 }
        };
        let rounds = |usual| self.rounds.unwrap_or(usual);
        Effort { rounds: rounds(usual.rounds), rounds_of_misses: rounds(usual.rounds_of_misses), ..usual }
    }

    fn cases(&self) -> Vec<Case> {
        let (big, rate) = if self.quick { (100_000_000, 50_000_000) } else { (1_000_000_000, 200_000_000) };
        let hits = [big, 10_000_000, 10_000]
            .into_iter()
            .flat_map(|length| [1, 10, 100].map(|clients| Case { work: Work::Hit, length, clients }));
        let misses = [None, Some(rate)]
            .into_iter()
            .flat_map(|rate| [1, 50].map(|clients| Case { work: Work::Miss { rate }, length: big, clients }));
        let named = |case: &Case| self.only.is_empty() || self.only.iter().any(|part| case.to_string().contains(part));
        hits.chain(misses).filter(named).collect()
    }
}

/// Waits. Nothing here has a runtime whose worker it would block.
#[expect(clippy::disallowed_methods, reason = "threads of a benchmark")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
