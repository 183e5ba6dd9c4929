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
}

/// What came of taking the state anew.
enum Renewed {
    /// It is served from now on; this vouches for the boot files.
    Served(String),
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
        let (mut taken, mut failed) = (Timestamp::now(), None);
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
            match self.once().await.unwrap_or_else(Renewed::Kept) {
                Renewed::Busy => {}
                Renewed::Served(provenance) => {
                    (taken, failed) = (now, None);
                    say(&format!("took the archive's state of today: {provenance}"));
                }
                Renewed::Kept(error) => {
                    let since = taken.strftime("%Y-%m-%d %H:%MZ");
                    let line = format!("the archive's state of {since} stays, as today's cannot be taken: {error:#}");
                    match failed.replace(now) {
                        None => say(&line),
                        Some(_) => tracing::warn!("{line}"),
                    }
                }
            }
        }
    }

    async fn once(&self) -> anyhow::Result<Renewed> {
        let quietly = |line: &str| tracing::info!("{line}");
        let Supply { files, ledger, valid_until, snapshots } =
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
        Ok(Renewed::Served(provenance))
    }
}
