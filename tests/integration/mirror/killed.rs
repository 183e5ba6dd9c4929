//! Processes on one folder, killed at any moment: what has a name is whole, and the next run goes on.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::http::{Method, StatusCode};
use provisioner::{distro::Mirror, mirror::Proxy};
use tokio::{
    process::{Child, Command},
    sync::{Notify, Semaphore},
    time::sleep,
};

use super::{
    bench::{client, open_on, receive, request},
    chance::Chance,
    matrix::visible,
    upstream::{Act, Asked, Upstream, file, found},
};

const KILLS: usize = 200;
/// Every so manieth time there are two of them.
const PAIRS: usize = 4;
/// How many of each kind of file there are.
const FILES: usize = 24;

/// What a process does is in here: `once <key>` or `endlessly <seed>`.
const TASK: &str = "FETCHER_TASK";
const FOLDER: &str = "FETCHER_FOLDER";
const UPSTREAM: &str = "FETCHER_UPSTREAM";

/// Runs in processes of its own, for the tests below.
#[tokio::test]
async fn fetcher() {
    let [Ok(task), Ok(folder), Ok(upstream)] = [TASK, FOLDER, UPSTREAM].map(std::env::var) else { return };
    let proxy = open(folder.as_ref(), upstream.parse().expect("an address"), false);
    let get = async |key: &str| receive(request(&proxy, Method::GET, key, &[]).await).await;
    match task.split_once(' ').expect("a verb and its object") {
        ("once", key) => {
            assert!(get(key).await.body == Some(body_of(key)));
            proxy.landed().await;
        }
        ("endlessly", seed) => {
            let mut chance = Chance::of(seed);
            loop {
                let key = any_key(&mut chance);
                // What another process was killed over is asked for again, and right.
                assert!(get(&key).await.body == Some(body_of(&key)), "{key}");
            }
        }
        other => unreachable!("{other:?}"),
    }
}

/// A mirror that no busy moment of this machine makes impatient.
fn open(folder: &Path, upstream: SocketAddr, offline: bool) -> Proxy {
    let mirror = Mirror::new("debian", &format!("http://{upstream}/debian").parse().expect("a URL"));
    open_on(vec![mirror], client(Duration::from_secs(60)), folder, offline, Arc::new(|_, _| {}))
}

fn start(task: &str, folder: &Path, upstream: &Upstream) -> Child {
    Command::new(std::env::current_exe().expect("this binary"))
        .args(["mirror::killed::fetcher", "--exact", "--nocapture"])
        .env(TASK, task)
        .env(FOLDER, folder)
        .env(UPSTREAM, upstream.address.to_string())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("another process")
}

/// A volatile file, an immutable one, or one whose name tells its digest.
fn any_key(chance: &mut Chance) -> String {
    let number = chance.within(0..FILES);
    match chance.within(0..3) {
        0 => format!("debian/dists/trixie/{number}"),
        1 => format!("debian/pool/main/{number}.deb"),
        _ => {
            let name = format!("debian/by-digest/{number}");
            let digest = super::archive::digest(&body_of(&name));
            format!("{name}/repodata/{digest}-primary.xml")
        }
    }
}

/// The one right body of a key.
fn body_of(key: &str) -> Vec<u8> {
    let name = key.split("/repodata/").next().expect("at least one");
    let mut chance = Chance::of(name);
    let length = if chance.one_in(8) { 400_000 } else { 30_000 };
    let length = chance.within(0..length);
    chance.bytes(length)
}

fn served(asked: &Asked) -> Vec<Act> {
    let body = body_of(&asked.path[1..]);
    let mut acts = file(asked, &body, "\"v1\"");
    // In pieces, so that there are moments between them.
    if let Some(Act::Send(bytes)) = acts.pop() {
        acts.extend(bytes.chunks(20_000).map(|piece| Act::Send(piece.to_vec())));
    }
    acts
}

/// Waits until upstream was asked so often once more.
async fn asks(asked: &AtomicUsize, news: &Notify, child: &mut Child, often: usize) {
    let enough = asked.load(Ordering::Relaxed) + often;
    while asked.load(Ordering::Relaxed) < enough {
        tokio::select! {
            () = news.notified() => {}
            ended = child.wait() => panic!("it ended by itself: {ended:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_it_is_killed_every_file_with_a_name_is_whole() {
    let mut chance = Chance::of_this_run();
    let (asked, news) = (Arc::<AtomicUsize>::default(), Arc::<Notify>::default());
    let (count, told) = (Arc::clone(&asked), Arc::clone(&news));
    let upstream = Upstream::start(move |asked| {
        count.fetch_add(1, Ordering::Relaxed);
        told.notify_one();
        served(asked)
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let (mut kills, mut halves) = (0, 0);
    while kills < KILLS {
        let mut children = Vec::new();
        for _ in 0..if kills % PAIRS == 0 { 2 } else { 1 } {
            children.push(start(&format!("endlessly {}", chance.next()), folder.path(), &upstream));
        }
        while let Some(mut child) = children.pop() {
            asks(&asked, &news, &mut child, chance.within(0..12)).await;
            // No synchronisation, but the moment of the kill.
            sleep(Duration::from_micros(chance.within(0..6000) as u64)).await;
            child.kill().await.expect("it is ours");
            kills += 1;
        }
        for key in visible(folder.path()) {
            if key.starts_with(".part-") {
                halves += 1;
                continue;
            }
            let stored = folder.path().join(&key);
            assert!(fs::read(&stored).expect("readable") == body_of(&key), "kill {kills}: {key}");
            // There has to be something left to fetch.
            if chance.one_in(2) {
                fs::remove_file(stored).expect("removed");
            }
        }
    }
    assert!(halves > 0, "no kill came in the middle of a file");
    println!("{kills} kills left {halves} files half-written; upstream was asked {} times", upstream.asked().len());

    let before = visible(folder.path()).into_iter().filter(|key| !key.starts_with(".part-")).collect::<Vec<_>>();
    let proxy = open(folder.path(), upstream.address, false);
    assert_eq!(visible(folder.path()), before, "leftovers are gone, and nothing else");
    for key in (0..200).map(|_| any_key(&mut chance)) {
        let got = receive(request(&proxy, Method::GET, &key, &[]).await).await;
        assert!(got.status == StatusCode::OK && got.body == Some(body_of(&key)), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_fetch_one_file_at_once_do_not_meddle() {
    for key in ["debian/dists/trixie/InRelease", "debian/pool/main/h/hello.deb"] {
        let (go, news) = (Arc::new(Semaphore::new(0)), Arc::<Notify>::default());
        let (gate, told) = (Arc::clone(&go), Arc::clone(&news));
        let upstream = Upstream::start(move |asked| {
            let body = body_of(key);
            let (first, second) = body.split_at(body.len() / 2);
            told.notify_one();
            let begin = [found(body.len(), "\"v1\""), Act::Send(first.to_vec()), Act::Wait(Arc::clone(&gate))];
            assert_eq!(asked.header("range"), None);
            begin.into_iter().chain([Act::Send(second.to_vec())]).collect()
        })
        .await;
        let folder = tempfile::tempdir().expect("a folder");
        let mut children = [0, 1].map(|_| start(&format!("once {key}"), folder.path(), &upstream));
        while upstream.asked().len() < 2 {
            news.notified().await;
        }
        // A third one starts while both are at it, and takes nothing away.
        let third = open(folder.path(), upstream.address, true);
        assert_eq!(visible(folder.path()).len(), 2, "{key}: one each, and no name yet");
        let early = receive(request(&third, Method::GET, key, &[]).await).await;
        assert_eq!(early.status, StatusCode::SERVICE_UNAVAILABLE, "{key}");
        go.add_permits(2);
        for child in &mut children {
            assert!(child.wait().await.expect("it is ours").success(), "{key}");
        }
        assert_eq!(visible(folder.path()), [key]);
        let got = receive(request(&third, Method::GET, key, &[]).await).await;
        assert!(got.body == Some(body_of(key)), "{key}");
        assert_eq!(upstream.asked().len(), 2, "{key}");
    }
}
