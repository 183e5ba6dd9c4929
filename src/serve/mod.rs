//! Composition root: verify the boot files → bind everything → change the network → serve → put the host back.
//!
//! The order is the promise: a port that is taken or a mirror that lies is found before anything on this host has changed,
//! and `ready` is said only when a machine that asks would get everything up to its answers.
//!
//! What is served belongs together: one state of the archives and the boot files of that state. A run that goes on takes it anew
//! (`renewal`), between installations and never during one.

mod adapters;
mod callback;
mod changes;
mod desk;
mod handoff;
mod host_keys;
mod installs;
mod job;
mod known_hosts;
mod ledger;
mod link;
mod login;
mod on_done;
mod prefetch;
mod renewal;
mod secret;
mod signals;
mod supervise;
mod supply;
mod tally;

use std::{convert::Infallible, fs, net::SocketAddrV4, path::Path, sync::Arc};

use jiff::SignedDuration;
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinSet,
};

use self::{adapters::TftpFiles, link::Link, renewal::Renewal, supervise::supervise, supply::Supply};
pub use self::{
    callback::Unheard,
    changes::planned_changes,
    desk::{Desk, Opened},
    handoff::{check as check_handoff, digest as handoff_digest},
    ledger::SuiteLedger,
    login::{Login, takes_logins},
    on_done::{OnDone, Told},
    prefetch::{Ahead, Fetched, fetch},
    signals::Signals,
};
use crate::{
    dhcp,
    events::Registry,
    fetch, http, mirror,
    model::Hinted,
    net::{
        Place, probe,
        setup::{self, Applied, Change, Tools},
    },
    plan::Plan,
    tftp,
};

/// Where firmware asks for files (RFC 1350 §4).
const TFTP_PORT: u16 = 69;

/// The running servers. [`Running::stop`] ends them and puts the host back; so does dropping it.
pub struct Running {
    registry: Registry,
    renewal: Renewal,
    /// Of the link.
    told: Mutex<mpsc::UnboundedReceiver<String>>,
    // Dropped in this order: the servers end before the network under them is put back.
    _servers: JoinSet<()>,
    network: Applied,
}

impl Running {
    /// What machines did so far, and do from now on.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Takes the archives' state anew whenever it is older than `age` and no machine is being installed, for ever. `say` is given
    /// one line at a time for the operator.
    pub async fn keep_current(&self, age: SignedDuration, say: &(dyn Fn(&str) + Sync)) {
        self.renewal.every(age, say).await;
    }

    /// Tells what becomes of the link while machines are served, for ever. `say` is given one line at a time for the operator.
    pub async fn tell_of_link(&self, say: &(dyn Fn(&str) + Sync)) {
        let mut told = self.told.lock().await;
        while let Some(line) = told.recv().await {
            say(&line);
        }
    }

    /// Ends the servers and reverts every change to this host.
    pub async fn stop(self) -> anyhow::Result<()> {
        let Self { _servers: mut servers, network, .. } = self;
        servers.shutdown().await;
        network.revert()
    }
}

/// Starts everything that `plan` says, with listeners in `place`. `say` is given one line at a time for the operator.
///
/// Dropped half-way it leaves the host as it was.
pub async fn start(plan: Plan, place: Place, say: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Running> {
    let tools = Tools::default();
    let records = changes::records(&plan, &place);
    for recovered in setup::recover(&place, &tools, &records, &plan.interface)? {
        say(&recovered.to_string());
    }
    let changes = changes::needed(&plan, &place, &tools)?;
    create(&plan.prefix)?;
    let interface = changes::named(&plan.interface, &probe::interfaces(&place)?)?.clone();
    let client = fetch::client()?;
    let Supply { files, ledger, valid_until, snapshots, older } = supply::bring(&plan, &client, say).await?;
    let secret = secret::load_or_make(&plan.prefix.join("secret"))?;
    let registry = Registry::open(&plan.journal)?;
    let began_current = older.is_empty() && files.is_current();
    let desk = Desk::new(plan.clone(), files.clone(), valid_until, registry.clone(), secret, interface.mac)?;
    let desk = Arc::new(desk);
    let servers = Servers::new(&plan, &place, Arc::clone(&desk), client.clone(), ledger)?;
    if plan.offline {
        prefetch::report(&plan, &files, &snapshots, &servers.mirror, say).await;
    }
    let bound = servers.bind()?;

    let network = setup::apply(&place, &tools, &interface, &changes, &records.of(&plan.interface))?;
    let link = Link::new(&place, &interface, plan.network.router);
    let raised = network.changes().iter().any(|change| matches!(change, Change::LinkUp | Change::Unmanage));
    let ear = if link.is_there(raised, say).await {
        Some(link.refuse_rival().await?)
    } else {
        say(&format!("no cable in {} yet, or nothing at its other end", plan.interface));
        None
    };
    let renewal = Renewal { plan, client, desk, mirror: servers.mirror.clone(), began_current };
    let (tell, told) = mpsc::unbounded_channel();
    let mut tasks = servers.spawn(bound, |gate| link.keep(ear, gate, tell));
    if !renewal.plan.offline {
        let (release, mirror) = (renewal.plan.release.clone(), renewal.mirror.clone());
        tasks.spawn(async move { prefetch::hold(&release, &snapshots, &mirror).await });
    }
    Ok(Running { registry, renewal, told: Mutex::new(told), _servers: tasks, network })
}

/// Makes the prefix, or finds that nothing can be kept there: now, and not when a machine is half installed.
fn create(prefix: &Path) -> anyhow::Result<()> {
    let probe = prefix.join(format!(".probe-{}", std::process::id()));
    let made = fs::create_dir_all(prefix).map_err(|error| ("making", error));
    let written = || {
        // What a killed run has left, whose number this one has.
        let _ = fs::remove_file(&probe);
        fs::File::create_new(&probe).and_then(|_| fs::remove_file(&probe))
    };
    made.and_then(|()| written().map_err(|error| ("writing to", error))).map_err(|(doing, error)| {
        let what = format!("{doing} the cache directory {}: {error}", prefix.display());
        Hinted::new(what, "it must be one that this user may write to; or choose another one with --prefix").into()
    })
}

/// The mirror of a plan's archives.
fn open_mirror(
    plan: &Plan,
    client: fetch::Client,
    ledger: Arc<dyn mirror::Ledger>,
    on_served: mirror::OnServed,
) -> anyhow::Result<mirror::Proxy> {
    mirror::Proxy::open(mirror::Config {
        mirrors: plan.release.mirrors.clone(),
        ledger,
        immutable: (&*plan.release.distro).into(),
        folder: plan.prefix.join("mirror"),
        limit: plan.cache_size.map(|size| size.0),
        client,
        offline: plan.offline,
        upstream: tokio::runtime::Handle::current(),
        on_served,
    })
}

/// The three servers and what each needs to be bound, and bound again.
struct Servers {
    place: Place,
    dhcp: dhcp::Config,
    tftp: tftp::Config,
    http: http::Config,
    desk: Arc<Desk>,
    mirror: mirror::Proxy,
}

/// One of each, listening.
struct Bound {
    dhcp: dhcp::Server,
    tftp: tftp::Server<TftpFiles>,
    http: http::Server,
}

impl Servers {
    fn new(
        plan: &Plan,
        place: &Place,
        desk: Arc<Desk>,
        client: fetch::Client,
        ledger: Arc<dyn mirror::Ledger>,
    ) -> anyhow::Result<Self> {
        let counting = Arc::clone(&desk);
        let on_served = Arc::new(move |client, served: &mirror::Served| counting.mirrored(client, served));
        let mirror = open_mirror(plan, client, ledger, on_served)?;
        let interface = Some(plan.interface.clone());
        let server = plan.network.router;
        let reservation = plan.host.mac.zip(plan.host.address);
        Ok(Self {
            place: place.clone(),
            dhcp: dhcp::Config {
                interface: plan.interface.clone(),
                network: plan.network.clone(),
                reservation,
                known: Vec::new(),
            },
            tftp: tftp::Config {
                interface: interface.clone(),
                ..tftp::Config::at(SocketAddrV4::new(server, TFTP_PORT))
            },
            http: http::Config { address: plan.endpoints().http(), interface },
            desk,
            mirror,
        })
    }

    fn bind(&self) -> anyhow::Result<Bound> {
        Ok(Bound { dhcp: self.bind_dhcp()?, tftp: self.bind_tftp()?, http: self.bind_http()? })
    }

    fn bind_dhcp(&self) -> anyhow::Result<dhcp::Server> {
        dhcp::bind(
            &self.place,
            dhcp::Config { known: self.desk.known_addresses(), ..self.dhcp.clone() },
            Arc::clone(&self.desk) as Arc<dyn dhcp::Desk>,
        )
    }

    fn bind_tftp(&self) -> anyhow::Result<tftp::Server<TftpFiles>> {
        tftp::bind(&self.place, self.tftp.clone(), Arc::new(TftpFiles(Arc::clone(&self.desk))))
    }

    fn bind_http(&self) -> anyhow::Result<http::Server> {
        http::bind(&self.place, &self.http, Arc::clone(&self.desk) as Arc<dyn http::Desk>, self.mirror.clone())
    }

    /// Each in a task of its own that starts it again if it ends. `keep` keeps the gate of DHCP.
    fn spawn<F>(self, bound: Bound, keep: impl FnOnce(watch::Sender<dhcp::Gate>) -> F) -> JoinSet<()>
    where
        F: Future<Output = Infallible> + Send + 'static,
    {
        let servers = Arc::new(self);
        let mut tasks = JoinSet::new();
        let (dhcp, tftp, http) = (Arc::clone(&servers), Arc::clone(&servers), servers);
        let (keeper, gate) = watch::channel(dhcp::Gate::Held);
        let kept = keep(keeper);
        tasks.spawn(async move {
            kept.await;
        });
        tasks.spawn(async move {
            supervise("DHCP", bound.dhcp, || dhcp.bind_dhcp(), |server| server.run(gate.clone())).await;
        });
        tasks.spawn(async move {
            supervise("TFTP", bound.tftp, || tftp.bind_tftp(), tftp::Server::run).await;
        });
        tasks.spawn(async move {
            supervise("HTTP", bound.http, || http.bind_http(), http::Server::run).await;
        });
        tasks
    }
}
