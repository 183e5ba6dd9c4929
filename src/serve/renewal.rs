use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{
    desk::Desk,
    prefetch,
    supply::{self, Supply},
};
use crate::{fetch, mirror, plan::Plan};

/// How often it is looked whether it is time. By the clock of the host, since a laptop sleeps.
const LOOK: Duration = Duration::from_secs(30);

/// When it is tried again after it failed.
const RETRY: SignedDuration = SignedDuration::from_mins(15);

/// Takes the archives' state anew while a run goes on: mirrors keep the packages of an old one for some days at most.
///
/// An installation that began sees one state to its end, so nothing changes while one is under way.
pub struct Renewal {
    pub plan: Plan,
    pub client: fetch::Client,
    pub desk: Arc<Desk>,
    pub mirror: mirror::Proxy,
    /// All that was taken at the start was of that time.
    pub began_current: bool,
}

/// What came of taking the state anew.
enum Renewed {
    /// It is served from now on.
    Served {
        /// What vouches for the boot files.
        provenance: String,
        /// What stays of an earlier time.
        older: Vec<String>,
    },
    /// The archive cannot say; the one of before stays.
    Kept(anyhow::Error),
    /// A machine began to install meanwhile.
    Busy,
}

impl Renewal {
    /// Does it whenever the state is older than `age` and no machine is being installed, for ever.
    pub async fn every(&self, age: SignedDuration, say: &(dyn Fn(&str) + Sync)) {
        if self.plan.offline {
            return std::future::pending().await;
        }
        let look = LOOK.min(age.unsigned_abs());
        let mut taken = Timestamp::now();
        let mut failed = (!self.began_current).then_some(taken);
        loop {
            tokio::time::sleep(look).await;
            let now = Timestamp::now();
            // A clock that was set back must not put it off for long.
            (taken, failed) = (taken.min(now), failed.map(|at| now.min(at)));
            let wait = if failed.is_some() { age.min(RETRY) } else { age };
            if now.duration_since(failed.unwrap_or(taken)) < wait {
                continue;
            }
            if self.desk.is_busy(now) {
                tracing::debug!("the archive's state is not taken anew: a machine is being installed");
                continue;
            }
            let shortcoming = match self.once().await.unwrap_or_else(Renewed::Kept) {
                Renewed::Busy => continue,
                Renewed::Served { provenance, older } if older.is_empty() => {
                    (taken, failed) = (now, None);
                    say(&format!("took the archive's state of today: {provenance}"));
                    continue;
                }
                Renewed::Served { provenance, older } => {
                    taken = now;
                    format!("took the archive's state of today, but for {}: {provenance}", older.join(", "))
                }
                Renewed::Kept(error) => {
                    let since = taken.strftime("%Y-%m-%d %H:%MZ");
                    format!("the archive's state of {since} stays, as today's cannot be taken: {error:#}")
                }
            };
            match failed.replace(now) {
                None => say(&shortcoming),
                Some(_) => tracing::warn!("{shortcoming}"),
            }
        }
    }

    async fn once(&self) -> anyhow::Result<Renewed> {
        let quietly = |line: &str| tracing::info!("{line}");
        let Supply { files, ledger, valid_until, snapshots, older } =
            supply::bring(&self.plan, &self.client, &quietly).await?;
        if !files.is_current() {
            return Ok(Renewed::Kept(anyhow::anyhow!("{}", files.provenance())));
        }
        if self.desk.is_busy(Timestamp::now()) {
            return Ok(Renewed::Busy);
        }
        let provenance = files.provenance().to_owned();
        self.mirror.go_by(ledger);
        self.desk.go_by(files, valid_until);
        prefetch::hold(&self.plan.release, &snapshots, &self.mirror).await;
        Ok(Renewed::Served { provenance, older })
    }
}
