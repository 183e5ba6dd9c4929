//! One archive on several mirrors, and a ledger that the test writes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::http::Method;
use provisioner::{
    distro::Mirror,
    mirror::{Known, Ledger, Proxy, Served},
    model::{Expected, Sha256Digest},
};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{
    bench::{Got, impatient_client, open_with, receive, recorder, request},
    upstream::{Act, Asked, Upstream},
};

/// Path of the file in question below the archive's root.
pub const FILE: &str = "Packages/h/hello-2.12.1-1.x86_64.rpm";
/// What clients ask for to get it, and its key in the store.
pub const KEY: &str = "debian/Packages/h/hello-2.12.1-1.x86_64.rpm";

/// What is known, by path.
#[derive(Default)]
pub struct Book(Mutex<HashMap<String, Known>>);

impl Book {
    pub fn write(&self, path: &str, known: Known) {
        self.0.lock().expect("no panic").insert(path.to_owned(), known);
    }
}

impl Ledger for Book {
    fn look_up(&self, mirror_id: &str, path: &str) -> Known {
        assert_eq!(mirror_id, "debian");
        self.0.lock().expect("no panic").get(path).cloned().unwrap_or(Known::Nothing)
    }
}

pub type Script = Box<dyn Fn(&Asked) -> Vec<Act> + Send + Sync>;

pub struct Archive {
    pub mirrors: Vec<Upstream>,
    pub book: Arc<Book>,
    pub folder: tempfile::TempDir,
    pub proxy: Proxy,
    pub served: mpsc::UnboundedReceiver<Served>,
}

impl Archive {
    /// The first script is the archive's mirror, the others are its alternates.
    pub async fn start(scripts: impl IntoIterator<Item = Script>) -> Self {
        let mut mirrors = Vec::new();
        for script in scripts {
            mirrors.push(Upstream::start(script).await);
        }
        let (folder, book) = (tempfile::tempdir().expect("a folder"), Arc::<Book>::default());
        let (proxy, served) = open(&mirrors, &book, &folder, false);
        Self { mirrors, book, folder, proxy, served }
    }

    /// An archive in which the content of [`FILE`] is known.
    pub async fn with_file(body: &[u8], scripts: impl IntoIterator<Item = Script>) -> Self {
        let archive = Self::start(scripts).await;
        archive.book.write(FILE, Known::Content(expected(body)));
        archive
    }

    /// A second run of the provisioner on the same folder.
    pub async fn reopen(&mut self, offline: bool) {
        self.proxy.landed().await;
        (self.proxy, self.served) = open(&self.mirrors, &self.book, &self.folder, offline);
    }

    pub async fn get(&self) -> Got {
        self.ask(Method::GET, KEY, &[]).await
    }

    pub async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Got {
        receive(request(&self.proxy, method, path, headers).await).await
    }

    /// How often each mirror has been asked.
    pub fn asked(&self) -> Vec<usize> {
        self.mirrors.iter().map(|mirror| mirror.asked().len()).collect()
    }

    pub fn is_stored(&self) -> bool {
        self.folder.path().join(KEY).exists()
    }
}

fn open(
    mirrors: &[Upstream],
    book: &Arc<Book>,
    folder: &tempfile::TempDir,
    offline: bool,
) -> (Proxy, mpsc::UnboundedReceiver<Served>) {
    let url = |mirror: &Upstream| format!("http://{}/debian", mirror.address).parse().expect("a URL");
    let mut urls = mirrors.iter().map(url);
    let mirror = Mirror::new("debian", &urls.next().expect("the archive's mirror"));
    let mirrors = vec![Mirror { alternates: urls.collect(), ..mirror }];
    let (on_served, served) = recorder();
    let ledger = Arc::clone(book) as Arc<dyn Ledger>;
    (open_with(mirrors, ledger, impatient_client(), folder.path(), offline, on_served), served)
}

pub fn digest(body: &[u8]) -> Sha256Digest {
    Sha256Digest(Sha256::digest(body).into())
}

pub fn expected(body: &[u8]) -> Expected {
    Expected { size: Some(body.len() as u64), sha256: digest(body) }
}

/// A script of its own copy of `body`.
pub fn script(body: &[u8], acts: impl Fn(&Asked, &[u8]) -> Vec<Act> + Send + Sync + 'static) -> Script {
    let body = body.to_vec();
    Box::new(move |asked| acts(asked, &body))
}

/// The same with one bit flipped in the middle.
pub fn flipped(body: &[u8]) -> Vec<u8> {
    let mut flipped = body.to_vec();
    flipped[body.len() / 2] ^= 1;
    flipped
}
