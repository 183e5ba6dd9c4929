//! Readers of a growing file, by a model: what upstream has is a slice of bytes, and so is what each of them may see.
//!
//! `PROPTEST_RNG_SEED` repeats a run.

use std::{ops::Range, path::Path, sync::Arc, time::Duration};

use proptest::prelude::*;
use provisioner::{
    distro::Mirror,
    mirror::{Known, Proxy},
};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    archive::{Book, expected, flipped},
    bench::{client, content, listen, open_with},
    matrix::visible,
    upstream::{Act, Asked, Upstream, file, head, plain},
};

/// How many at once: most of the time goes into the pauses between two tries.
const TOGETHER: usize = 12;

#[derive(Debug, Clone)]
struct Plan {
    length: usize,
    /// What is known of the file before it is fetched.
    known: Content,
    volatile: bool,
    /// The archive's mirror and, of some known files, an alternate.
    mirrors: Vec<Faults>,
    /// Upstream sends pieces of this length, one for each step of the test.
    piece: usize,
    readers: Vec<Reader>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Unknown,
    Right,
    /// Upstream has another one of the same length.
    Wrong,
}

/// What a mirror does to its first connections; all further ones are alike.
#[derive(Debug, Clone)]
struct Faults {
    /// After how much of its body each ends, and whether by a reset.
    cuts: Vec<(prop::sample::Index, bool)>,
    /// Whether a length is announced; otherwise it comes in chunks.
    announces: bool,
    /// Whether it knows `Range`.
    ranges: bool,
    /// Whether it answers 403 in the end.
    turns_away: bool,
}

#[derive(Debug, Clone)]
struct Reader {
    /// The step before which it comes.
    comes: usize,
    range: Option<(prop::sample::Index, prop::sample::Index)>,
}

/// What must come of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Every reader gets all that it asked for.
    Delivered,
    /// No mirror delivers to the end; of a file of unknown content a part may be had.
    Abandoned,
    /// Nobody gets anything whole.
    Disproved,
}

impl Plan {
    fn fate(&self) -> Fate {
        match self.known {
            Content::Wrong if self.mirrors.iter().all(|mirror| mirror.turns_away) => Fate::Abandoned,
            Content::Wrong => Fate::Disproved,
            _ if self.mirrors.iter().all(|mirror| mirror.turns_away) => Fate::Abandoned,
            _ => Fate::Delivered,
        }
    }

    fn path(&self) -> &'static str {
        if self.volatile { "dists/trixie/InRelease" } else { "pool/main/h/hello.deb" }
    }
}

impl Faults {
    fn answer(&self, asked: &Asked, body: &[u8], piece: usize, go: &Arc<Semaphore>) -> Vec<Act> {
        let cut = self.cuts.get(asked.number);
        if cut.is_none() && self.turns_away {
            return plain("403 Forbidden", b"no");
        }
        let mut asked = asked.clone();
        if !self.ranges {
            asked.headers.remove("range");
        }
        let mut acts = file(&asked, body, "\"v1\"");
        let Some(Act::Send(bytes)) = acts.pop() else { unreachable!("a body comes last") };
        let chunked = !self.announces && !asked.headers.contains_key("range");
        if chunked {
            acts = vec![head("200 OK", &[("Transfer-Encoding", "chunked"), ("ETag", "\"v1\"")])];
        }
        let end = cut.map_or(bytes.len(), |(at, _)| if bytes.is_empty() { 0 } else { at.index(bytes.len()) });
        for piece in bytes[..end].chunks(piece) {
            acts.push(Act::Wait(Arc::clone(go)));
            acts.push(Act::Send(match chunked {
                true => [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat(),
                false => piece.to_vec(),
            }));
        }
        match cut {
            Some((_, true)) => acts.push(Act::Reset),
            None if chunked => acts.push(Act::Send(b"0\r\n\r\n".to_vec())),
            _ => {}
        }
        acts
    }
}

impl Reader {
    fn range(&self, length: usize) -> Option<Range<usize>> {
        let (a, b) = self.range.map(|(a, b)| (a.index(length), b.index(length)))?;
        Some(a.min(b)..a.max(b) + 1)
    }
}

/// What a reader saw.
struct Seen {
    /// `None`: the break came before a head had left the server.
    status: Option<u16>,
    bytes: Vec<u8>,
    /// By its own account it has all of it.
    whole: bool,
}

async fn read(client: reqwest::Client, url: String, range: Option<Range<usize>>) -> Seen {
    let request = client.get(url);
    let request = match range {
        Some(Range { start, end }) => request.header("range", format!("bytes={start}-{}", end - 1)),
        None => request,
    };
    let mut bytes = Vec::new();
    let Ok(mut response) = request.send().await else { return Seen { status: None, bytes, whole: false } };
    let status = Some(response.status().as_u16());
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            end => return Seen { status, bytes, whole: end.is_ok() },
        }
    }
}

/// The oracle. It knows the file and the plan, and nothing of how files are fetched.
fn judge(plan: &Plan, body: &[u8], range: Option<Range<usize>>, seen: &Seen) {
    let fate = plan.fate();
    let right = match (seen.status, &range) {
        (Some(200), _) => body,
        (Some(206), Some(range)) => &body[range.clone()],
        (Some(502) | None, _) => {
            assert_ne!(fate, Fate::Delivered);
            return;
        }
        other => panic!("{other:?}"),
    };
    if range.is_some() && seen.status == Some(200) {
        let told = plan.known != Content::Unknown || plan.mirrors[0].announces;
        assert!(!told, "a range of a known length was asked for");
    }
    assert!(right.starts_with(&seen.bytes), "they are the bytes of the file");
    assert_eq!(seen.whole, seen.bytes.len() == right.len(), "all of it or a break");
    match fate {
        Fate::Delivered => assert!(seen.whole),
        Fate::Abandoned => assert!(!seen.whole || plan.known == Content::Unknown && right.len() < body.len()),
        Fate::Disproved => assert!(!seen.whole),
    }
}

async fn run(plan: Plan) {
    // The model's file is the one that upstream has.
    let body = Arc::new(content(plan.length));
    let go = Arc::new(Semaphore::new(0));
    let mut upstreams = Vec::new();
    for faults in plan.mirrors.clone() {
        let (body, go, piece) = (Arc::clone(&body), Arc::clone(&go), plan.piece);
        upstreams.push(Upstream::start(move |asked| faults.answer(asked, &body, piece, &go)).await);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let client = client(Duration::from_secs(60));
    let proxy = open(&plan, &upstreams, &body, &client, folder.path());
    let url = format!("http://{}/mirror/debian/{}", listen(proxy.clone()), plan.path());
    let mut readers = JoinSet::new();
    for step in 0..12 {
        for reader in plan.readers.iter().filter(|reader| reader.comes == step) {
            let (range, client, url) = (reader.range(plan.length), client.clone(), url.clone());
            readers.spawn(async move { (range.clone(), read(client, url, range).await) });
        }
        go.add_permits(if step == 11 { 1_000_000 } else { 1 });
        tokio::task::yield_now().await;
    }
    while let Some(reader) = readers.join_next().await {
        let (range, seen) = reader.expect("no panic");
        judge(&plan, &body, range, &seen);
    }
    proxy.landed().await;
    match plan.fate() {
        Fate::Delivered => {
            assert_eq!(visible(folder.path()), [format!("debian/{}", plan.path())]);
            assert!(std::fs::read(folder.path().join("debian").join(plan.path())).expect("kept") == **body);
        }
        Fate::Abandoned | Fate::Disproved => assert_eq!(visible(folder.path()), [""; 0]),
    }
}

fn open(plan: &Plan, upstreams: &[Upstream], body: &[u8], client: &reqwest::Client, folder: &Path) -> Proxy {
    let book = Arc::<Book>::default();
    match plan.known {
        Content::Unknown => {}
        Content::Right => book.write(plan.path(), Known::Content(expected(body))),
        Content::Wrong => book.write(plan.path(), Known::Content(expected(&flipped(body)))),
    }
    let mut urls = upstreams.iter().map(|it| format!("http://{}/debian", it.address).parse().expect("a URL"));
    let mirror = Mirror::new("debian", &urls.next().expect("the archive's mirror"));
    let mirror = Mirror { alternates: urls.collect(), ..mirror };
    open_with(vec![mirror], book, client.clone(), folder, false, Arc::new(|_, _| {}))
}

fn faults() -> impl Strategy<Value = Faults> {
    let cuts = prop::collection::vec(any::<(prop::sample::Index, bool)>(), 0..4);
    (cuts, any::<bool>(), any::<bool>(), prop::bool::weighted(0.2))
        .prop_map(|(cuts, announces, ranges, turns_away)| Faults { cuts, announces, ranges, turns_away })
}

fn plan() -> impl Strategy<Value = Plan> {
    let length = prop_oneof![1..300_usize, 50_000..80_000_usize, 200_000..400_000_usize];
    let known = prop_oneof![Just(Content::Unknown), Just(Content::Right), Just(Content::Wrong)];
    let range = prop::option::of(any::<(prop::sample::Index, prop::sample::Index)>());
    let reader = (0..12_usize, range).prop_map(|(comes, range)| Reader { comes, range });
    let readers = prop::collection::vec(reader, 1..10);
    let mirrors = prop::collection::vec(faults(), 1..3);
    (length, known, any::<bool>(), mirrors, 1..40_usize, readers).prop_map(
        |(length, known, volatile, mut mirrors, pieces, readers)| {
            if known == Content::Unknown {
                mirrors.truncate(1);
            }
            Plan { length, known, volatile, mirrors, piece: length.div_ceil(pieces), readers }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10) })]

    #[test]
    fn a_reader_sees_the_file_or_its_beginning_and_a_break(plans in prop::collection::vec(plan(), TOGETHER)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut runs = JoinSet::new();
            for plan in plans {
                runs.spawn(run(plan));
            }
            while let Some(run) = runs.join_next().await {
                run.expect("as the model says");
            }
        });
    }
}
