//! A TFTP server with a few files, as the tests need it.

use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use provisioner::{
    net::Place,
    tftp::{self, Config, Content, Files, OpenError},
};
use tokio::{runtime::Runtime, sync::Semaphore};

/// Bytes that no two blocks have in common.
pub fn content(size: usize) -> Vec<u8> {
    (0..size as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8).collect()
}

/// What the names stand for: `<size>` or `folder/<size>` is that many bytes of [`content`].
pub struct Shelf {
    /// Of opens.
    pub opened: AtomicUsize,
    /// A permit lets one open of `gated` go on.
    pub gate: Semaphore,
}

impl Files for Shelf {
    async fn open(&self, client: IpAddr, name: &str) -> Result<Content, OpenError> {
        assert!(client.is_loopback());
        self.opened.fetch_add(1, Ordering::SeqCst);
        match name {
            "gated" => {
                self.gate.acquire().await.expect("never closed").forget();
                Ok(Content::Bytes(content(700).into()))
            }
            "denied" => Err(OpenError::Denied),
            "failing" => Err(OpenError::Failed("the mirror is down".into())),
            "cut" => {
                let file = tempfile::tempfile().expect("a file");
                Ok(Content::File { file, size: 1000 })
            }
            "file" => {
                let mut file = tempfile::NamedTempFile::new().expect("a file");
                std::io::Write::write_all(&mut file, &content(1_000_000)).expect("written");
                Ok(Content::File { file: File::open(file.path()).expect("opened"), size: 1_000_000 })
            }
            name => {
                let size = name.trim_start_matches("folder/").parse().map_err(|_| OpenError::NotFound)?;
                Ok(Content::Bytes(Bytes::from(content(size))))
            }
        }
    }
}

/// A server that runs until it is dropped.
pub struct House {
    pub address: SocketAddrV4,
    pub shelf: Arc<Shelf>,
    _runtime: Runtime,
}

impl House {
    pub fn open() -> Self {
        Self::with(Config::at(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)))
    }

    pub fn with(config: Config) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let shelf = Arc::new(Shelf { opened: AtomicUsize::new(0), gate: Semaphore::new(0) });
        let server = {
            let _inside = runtime.enter();
            tftp::bind(&Place::Here, config, Arc::clone(&shelf)).expect("bound")
        };
        let address = server.local_addr().expect("an address");
        runtime.spawn(server.run());
        Self { address, shelf, _runtime: runtime }
    }
}
