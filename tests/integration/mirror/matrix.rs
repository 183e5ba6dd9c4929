//! Everything that an upstream can do wrong, times what is known of the file, times how many mirrors have it.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::http::Method;
use provisioner::{
    distro::Mirror,
    mirror::{Known, Proxy},
};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    archive::{Book, expected, flipped},
    bench::{Got, client, content, open_with, receive, recorder, request},
    faulty::{answer, theirs},
    upstream::{Upstream, file},
};

/// How a request ends that met a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The file, whole and kept.
    Whole,
    /// What upstream gave for it, whole and kept: nothing says that it is another file.
    Theirs,
    /// The file, whole but not kept: nothing says that it is all of it.
    Unkept,
    /// A part of it, or of another file, and a break; where no byte was given out yet, a 502.
    Cut,
    /// Bytes that only the digest of the whole tells from right ones: as [`End::Cut`], with alternates too.
    Lie,
    /// This status.
    Refused(u16),
}

use End::{Cut, Lie, Refused, Theirs, Unkept, Whole};

/// The fault; how a request for a volatile file, an immutable one and one of known content ends; most requests it may cost.
type Row = (&'static str, [End; 3], usize);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("in small pieces",                     [Whole, Whole, Whole], 1),
    ("chunked",                             [Whole, Whole, Whole], 1),
    ("no length",                           [Unkept, Unkept, Whole], 1),
    ("silence before the head",             [Refused(502), Refused(502), Refused(502)], 1),
    ("silence after the head, once",        [Whole, Whole, Whole], 2),
    ("silence half-way, once",              [Whole, Whole, Whole], 2),
    ("truncated, once",                     [Whole, Whole, Whole], 2),
    ("truncated at every tenth",            [Whole, Whole, Whole], 10),
    ("truncated, ranges unheard of",        [Cut, Cut, Cut], 6),
    ("truncated, then ranges unheard of",   [Whole, Whole, Whole], 2),
    ("truncated without validators",        [Cut, Whole, Whole], 2),
    ("truncated and gone",                  [Cut, Cut, Cut], 2),
    ("truncated and forbidden",             [Cut, Cut, Cut], 2),
    ("truncated, then another version",     [Cut, Cut, Lie], 2),
    ("truncated, then a rest of another",   [Cut, Cut, Lie], 2),
    ("truncated, then another range",       [Cut, Cut, Cut], 2),
    ("truncated, then a range of no place", [Cut, Cut, Cut], 2),
    ("truncated, then another total",       [Cut, Cut, Cut], 2),
    ("truncated, then 304",                 [Cut, Cut, Cut], 2),
    ("truncated, then 416",                 [Cut, Cut, Cut], 2),
    ("truncated, then half of the rest",    [Whole, Whole, Whole], 3),
    ("truncated, then 503 twice",           [Whole, Whole, Whole], 4),
    ("chunks that end, once",               [Whole, Whole, Whole], 2),
    ("chunks that are none",                [Whole, Whole, Whole], 2),
    ("no length and truncated, once",       [Unkept, Unkept, Whole], 2),
    ("reset before the head, once",         [Whole, Whole, Whole], 2),
    ("reset half-way, once",                [Whole, Whole, Whole], 2),
    ("reset half-way, ranges unheard of",   [Whole, Whole, Whole], 2),
    ("503, once",                           [Whole, Whole, Whole], 2),
    ("429, twice",                          [Whole, Whole, Whole], 3),
    ("500",                                 [Refused(502), Refused(502), Refused(502)], 5),
    ("403",                                 [Refused(502), Refused(502), Refused(502)], 1),
    ("404",                                 [Refused(404), Refused(404), Refused(404)], 1),
    ("410",                                 [Refused(502), Refused(502), Refused(502)], 1),
    ("204",                                 [Refused(502), Refused(502), Refused(502)], 1),
    ("206 unasked",                         [Refused(502), Refused(502), Refused(502)], 1),
    ("304 unasked",                         [Refused(502), Refused(502), Refused(502)], 1),
    ("no HTTP",                             [Refused(502), Refused(502), Refused(502)], 5),
    ("a redirect",                          [Whole, Whole, Whole], 2),
    ("a redirect, truncated, once",         [Whole, Whole, Whole], 4),
    ("a redirect loop",                     [Refused(502), Refused(502), Refused(502)], 11),
    ("a redirect to nowhere",               [Refused(502), Refused(502), Refused(502)], 1),
    ("a redirect to a folder",              [Refused(404), Refused(404), Refused(404)], 2),
    ("a redirect to a portal",              [Refused(502), Refused(502), Refused(502)], 2),
    ("less announced than sent",            [Theirs, Theirs, Refused(502)], 1),
    ("more announced than sent",            [Cut, Cut, Refused(502)], 5),
    ("more in chunks",                      [Theirs, Theirs, Lie], 1),
    ("another file",                        [Theirs, Theirs, Lie], 1),
    ("an error page as a file",             [Theirs, Theirs, Refused(502)], 1),
    ("an error page in chunks",             [Theirs, Theirs, Refused(502)], 1),
    ("nothing",                             [Theirs, Theirs, Refused(502)], 1),
    ("compressed",                          [Refused(502), Refused(502), Refused(502)], 1),
    ("compressed, as long as it is",        [Refused(502), Refused(502), Lie], 1),
];

/// What is known of the file, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Volatile,
    Immutable,
    Known,
}

/// Shorter than what is held back until the verdict, and longer.
const LENGTHS: [usize; 2] = [10_000, 200_000];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_upstream_does_nothing_wrong_is_whole_kept_or_remembered() {
    let (mut cases, room) = (JoinSet::new(), Arc::new(Semaphore::new(32)));
    for (fault, ends, most) in ROWS.iter().copied() {
        for (kind, end) in [Kind::Volatile, Kind::Immutable, Kind::Known].into_iter().zip(ends) {
            for (length, alternate) in LENGTHS.into_iter().flat_map(|length| [(length, false), (length, true)]) {
                let room = Arc::clone(&room);
                cases.spawn(async move {
                    let _place = room.acquire_owned().await.expect("never closed");
                    Case { fault, kind, length, alternate }.runs_to(end, most).await;
                });
            }
        }
    }
    let mut failed = 0;
    while let Some(case) = cases.join_next().await {
        failed += usize::from(case.is_err());
    }
    assert_eq!(failed, 0, "cases that did not end as the table says");
}

#[derive(Debug, Clone, Copy)]
struct Case {
    fault: &'static str,
    kind: Kind,
    length: usize,
    /// Whether a second mirror has the file, and nothing wrong with it.
    alternate: bool,
}

impl Case {
    fn path(self) -> &'static str {
        if self.kind == Kind::Volatile { "dists/trixie/InRelease" } else { "pool/main/h/hello.deb" }
    }

    /// What the table's word comes to here.
    fn end(self, end: End) -> End {
        match (self.kind, end) {
            // Nothing of a short file is seen before its verdict, so another mirror can be asked for all of it.
            (Kind::Known, _) if self.alternate && self.fault.starts_with("truncated") => Whole,
            (Kind::Known, Lie) if self.length == LENGTHS[1] => Cut,
            (Kind::Known, _) if self.alternate => Whole,
            (Kind::Known, Lie | Cut) if self.length == LENGTHS[0] => Refused(502),
            (_, end) => end,
        }
    }

    async fn runs_to(self, end: End, most: usize) {
        let (body, end) = (content(self.length), self.end(end));
        let upstreams = self.upstreams(&body).await;
        let folder = tempfile::tempdir().expect("a folder");
        let proxy = self.open(&upstreams, &body, folder.path());
        let got = self.get(&proxy).await;
        let asked = upstreams.faulty.asked();
        proxy.landed().await;

        let theirs = theirs(self.fault, &body);
        let whole: Option<&[u8]> = match end {
            Whole | Unkept => Some(&body),
            Theirs => Some(&theirs),
            Cut | Lie | Refused(_) => None,
        };
        // The answer to a file without a length is 200 from its first byte on.
        let status = if let Refused(status) = end { status } else { 200 };
        assert_eq!(got.status.as_u16(), status, "{self:?}: {end:?}");
        match (end, whole) {
            // An upstream that ends a body with its connection may break it off: that cannot be told.
            (Unkept, _) => assert!(got.body.is_some_and(|got| body.starts_with(&got)), "{self:?}: {end:?}"),
            (Refused(_), _) => assert!(got.body.is_some_and(|text| text.ends_with(b"\n")), "{self:?}: {end:?}"),
            (_, whole) => assert!(got.body.as_deref() == whole, "{self:?}: {end:?}"),
        }
        let kept = if end == Unkept { None } else { whole };
        let key = format!("debian/{}", self.path());
        assert!(fs::read(folder.path().join(&key)).ok().as_deref() == kept, "{self:?}: kept");
        assert_eq!(visible(folder.path()), Vec::from_iter(kept.map(|_| key)), "{self:?}: nothing else is visible");
        assert!(asked.len() <= most, "{self:?}: {} requests", asked.len());
        if self.kind != Kind::Known {
            assert_eq!(upstreams.alternate_asked(), 0, "{self:?}: two mirrors may have two versions");
        }

        upstreams.healed.store(true, Ordering::Relaxed);
        let (got, kept) = (self.get(&proxy).await, kept.unwrap_or(&body));
        assert!(got.status.is_success() && got.body.as_deref() == Some(kept), "{self:?}: then all is well");
    }

    async fn get(self, proxy: &Proxy) -> Got {
        receive(request(proxy, Method::GET, &format!("debian/{}", self.path()), &[]).await).await
    }

    async fn upstreams(self, body: &[u8]) -> Upstreams {
        let healed = Arc::<AtomicBool>::default();
        let (is_healed, sound, fault) = (Arc::clone(&healed), body.to_vec(), self.fault);
        let faulty = Upstream::start(move |asked| match is_healed.load(Ordering::Relaxed) {
            true => file(asked, &sound, "\"v1\""),
            false => answer(fault, asked, &sound),
        });
        let sound = body.to_vec();
        let alternate = Upstream::start(move |asked| file(asked, &sound, "\"theirs\""));
        let alternate = if self.alternate { Some(alternate.await) } else { None };
        Upstreams { faulty: faulty.await, alternate, healed }
    }

    fn open(self, upstreams: &Upstreams, body: &[u8], folder: &Path) -> Proxy {
        let book = Arc::<Book>::default();
        if self.kind == Kind::Known {
            book.write(self.path(), Known::Content(expected(body)));
        }
        let url = |upstream: &Upstream| format!("http://{}/debian", upstream.address).parse().expect("a URL");
        let mirror = Mirror::new("debian", &url(&upstreams.faulty));
        let mirror = Mirror { alternates: upstreams.alternate.iter().map(url).collect(), ..mirror };
        // Only silence is to be taken for one, however busy this machine is.
        let client = client(Duration::from_secs(if self.fault.contains("silence") { 2 } else { 60 }));
        open_with(vec![mirror], book, client, folder, false, recorder().0)
    }
}

struct Upstreams {
    faulty: Upstream,
    alternate: Option<Upstream>,
    /// Whether the fault is over.
    healed: Arc<AtomicBool>,
}

impl Upstreams {
    fn alternate_asked(&self) -> usize {
        self.alternate.as_ref().map_or(0, |alternate| alternate.asked().len())
    }
}

/// The files in a store that somebody could take for one of an archive, by their keys: all but what the store says of them. What
/// is half-written is among them.
pub fn visible(folder: &Path) -> Vec<String> {
    fn below(folder: &Path, name: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("readable") {
            let entry = entry.expect("an entry");
            let name = format!("{name}{}", entry.file_name().to_string_lossy());
            match entry.file_type().expect("a type").is_dir() {
                // The store's own; what is half-written is not to be seen either.
                _ if name.starts_with('.') && !name.starts_with(".part-") => {}
                true => below(&entry.path(), &format!("{name}/"), found),
                false => found.push(name),
            }
        }
    }
    let mut found = Vec::new();
    below(folder, "", &mut found);
    found.sort();
    found
}

#[test]
fn the_table_names_every_fault_once() {
    let names: std::collections::BTreeSet<_> = ROWS.iter().map(|(fault, ..)| fault).collect();
    assert_eq!(names.len(), ROWS.len());
    assert_ne!(flipped(&content(10)), content(10));
}
