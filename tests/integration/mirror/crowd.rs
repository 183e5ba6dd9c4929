//! Three hundred connections to the server of the provisioning network, all for one file.

use std::{net::IpAddr, ops::Range, sync::Arc, time::Duration};

use axum::http::StatusCode;
use provisioner::{
    distro::Mirror,
    mirror::{Known, Ledger, Unlisted},
};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    archive::{Book, FILE, KEY, expected},
    bench::{client, client_builder, content, listen, open_with, room_for_connections},
    chance::Chance,
    upstream::{Act, Upstream, found},
};

const READERS: usize = 300;
/// The file comes in as many pieces; before each a crowd of readers joins.
const PIECES: usize = 8;

/// What one reader asks for, and how much of it it waits for.
#[derive(Debug, Clone)]
struct Wish {
    range: Option<String>,
    expected: Range<usize>,
    /// It hangs up after so many bytes.
    hangs_up: Option<usize>,
}

impl Wish {
    fn any(chance: &mut Chance, length: usize) -> Self {
        let (a, b) = (chance.within(0..length), chance.within(0..length));
        let (from, to) = (a.min(b), a.max(b));
        let (range, expected) = match chance.within(0..6) {
            0 => (None, 0..length),
            1 => (Some(format!("bytes={from}-")), from..length),
            2 => (Some(format!("bytes=-{}", length - from)), from..length),
            3 => (Some(format!("bytes={from}-{from}")), from..from + 1),
            4 => (Some(format!("bytes={from}-{}", length * 2)), from..length),
            _ => (Some(format!("bytes={from}-{to}")), from..to + 1),
        };
        let hangs_up = chance.one_in(3).then(|| chance.within(0..expected.len()));
        Self { range, expected, hangs_up }
    }

    async fn comes_true(self, client: reqwest::Client, url: String, body: Arc<Vec<u8>>) {
        let request = client.get(url);
        let request = if let Some(range) = &self.range { request.header("range", range) } else { request };
        let mut response = request.send().await.expect("an answer");
        let status = if self.range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        assert_eq!((response.status(), response.content_length()), (status, Some(self.expected.len() as u64)));
        let mut got = Vec::new();
        while self.hangs_up.is_none_or(|enough| got.len() < enough) {
            match response.chunk().await.expect("no break") {
                Some(chunk) => got.extend_from_slice(&chunk),
                None => break,
            }
        }
        let expected = &body[self.expected.clone()];
        match self.hangs_up {
            Some(_) => assert!(expected.starts_with(&got), "{self:?}"),
            None => assert!(expected == got, "{self:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_readers_with_random_ranges_are_one_request_upstream() {
    room_for_connections();
    let mut chance = Chance::of_this_run();
    for known in [false, true] {
        let (body, go) = (Arc::new(content(1_500_000)), Arc::new(Semaphore::new(0)));
        let (script_body, script_go) = (Arc::clone(&body), Arc::clone(&go));
        let upstream = Upstream::start(move |_| {
            let pieces = script_body.chunks(script_body.len().div_ceil(PIECES));
            let gated = pieces.flat_map(|piece| [Act::Wait(Arc::clone(&script_go)), Act::Send(piece.to_vec())]);
            [found(script_body.len(), "\"v1\"")].into_iter().chain(gated).collect()
        })
        .await;
        let folder = tempfile::tempdir().expect("a folder");
        let mirror = Mirror::new("debian", &format!("http://{}/debian", upstream.address).parse().expect("a URL"));
        let book = Arc::<Book>::default();
        if known {
            book.write(FILE, Known::Content(expected(&body)));
        }
        let ledger: Arc<dyn Ledger> = if known { book } else { Arc::new(Unlisted) };
        // A crowd keeps a slow machine busy for longer than an impatient client waits.
        let patience = Duration::from_secs(60);
        let on_served = Arc::new(|_, _: &_| {});
        let proxy = open_with(vec![mirror], ledger, client(patience), folder.path(), false, on_served);
        let url = format!("http://{}/mirror/{KEY}", listen(proxy.clone()));
        // A single client may not hold as many connections.
        let clients: Vec<_> = (1..=3)
            .map(|host| {
                client_builder(patience).local_address(IpAddr::from([127, 0, 0, host])).build().expect("a client")
            })
            .collect();
        let mut readers = JoinSet::new();
        // The last crowd comes when all is there.
        for crowd in 0..=PIECES {
            if crowd == PIECES {
                proxy.landed().await;
            }
            for client in clients.iter().cycle().take(READERS.div_ceil(PIECES + 1)) {
                let wish = Wish::any(&mut chance, body.len());
                readers.spawn(wish.comes_true(client.clone(), url.clone(), Arc::clone(&body)));
            }
            go.add_permits(1);
            // Some are done before the next come.
            tokio::task::yield_now().await;
        }
        while let Some(reader) = readers.join_next().await {
            reader.expect("the right bytes");
        }
        assert_eq!(upstream.asked().len(), 1, "known: {known}");
        assert!(std::fs::read(folder.path().join(KEY)).expect("kept") == **body, "known: {known}");
    }
}
