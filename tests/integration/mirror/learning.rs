//! Which ledger is taught what, where another one takes its place meanwhile.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    sync::{Arc, Mutex},
};

use axum::http::Method;
use futures_util::StreamExt;
use provisioner::{
    distro::Mirror,
    mirror::{Known, Ledger, Proxy},
};
use tokio::sync::Semaphore;

use super::{
    archive::{KEY, expected, flipped},
    bench::{content, drain, impatient_client, open_with, receive, recorder, request},
    upstream::{Act, Asked, Upstream, file, found},
};

/// Knows the content of every file, and remembers what it was taught.
#[derive(Default)]
struct Pupil {
    content: Vec<u8>,
    learnt: Mutex<Vec<Vec<u8>>>,
    /// What happens right after it was first asked.
    once_asked: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Pupil {
    fn of(content: &[u8]) -> Arc<Self> {
        Arc::new(Self { content: content.to_vec(), ..Self::default() })
    }

    fn learnt(&self) -> Vec<Vec<u8>> {
        self.learnt.lock().expect("no panic").clone()
    }
}

impl Ledger for Pupil {
    fn look_up(&self, _: &str, _: &str) -> Known {
        if let Some(then) = self.once_asked.lock().expect("no panic").take() {
            then();
        }
        Known::Content(expected(&self.content))
    }

    fn learn(&self, _: &str, _: &str, file: &File) {
        let mut bytes = vec![0; file.metadata().expect("metadata").len() as usize];
        file.read_exact_at(&mut bytes, 0).expect("readable");
        self.learnt.lock().expect("no panic").push(bytes);
    }
}

struct World {
    upstream: Upstream,
    folder: tempfile::TempDir,
    proxy: Proxy,
}

impl World {
    async fn start(ledger: &Arc<Pupil>, script: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let (upstream, folder) = (Upstream::start(script).await, tempfile::tempdir().expect("a folder"));
        let mirror = Mirror::new("debian", &format!("http://{}/debian", upstream.address).parse().expect("a URL"));
        let ledger = Arc::clone(ledger) as Arc<dyn Ledger>;
        let proxy = open_with(vec![mirror], ledger, impatient_client(), folder.path(), false, recorder().0);
        Self { upstream, folder, proxy }
    }
}

#[tokio::test]
async fn a_file_is_taught_to_the_ledger_that_said_what_it_is() {
    for stored in [false, true] {
        let body = content(100_000);
        let (old, new) = (Pupil::of(&body), Pupil::of(&flipped(&body)));
        let script_body = body.clone();
        let world = World::start(&old, move |asked| file(asked, &script_body, "\"v1\"")).await;
        if stored {
            let path = world.folder.path().join(KEY);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, &body).expect("written");
        }
        // Between its word and the bytes.
        let (proxy, successor) = (world.proxy.clone(), Arc::clone(&new));
        *old.once_asked.lock().expect("no panic") = Some(Box::new(move || proxy.go_by(successor)));
        let got = receive(request(&world.proxy, Method::GET, KEY, &[]).await).await;
        assert!(got.body.as_ref() == Some(&body), "stored: {stored}");
        assert_eq!(world.upstream.asked().len(), usize::from(!stored));
        assert!(old.learnt() == [body] && new.learnt().is_empty(), "stored: {stored}");
    }
}

#[tokio::test]
async fn a_new_ledger_has_learnt_from_a_file_that_is_under_way_before_a_client_has_it() {
    let (body, go) = (content(200_000), Arc::new(Semaphore::new(0)));
    let (old, new) = (Pupil::of(&body), Pupil::of(&body));
    let (script_body, script_go) = (body.clone(), Arc::clone(&go));
    let world = World::start(&old, move |_| {
        let (first, second) = script_body.split_at(150_000);
        let begin = [found(script_body.len(), "\"v1\""), Act::Send(first.to_vec())];
        begin.into_iter().chain([Act::Wait(Arc::clone(&script_go)), Act::Send(second.to_vec())]).collect()
    })
    .await;
    let get = async || {
        let mut body = request(&world.proxy, Method::GET, KEY, &[]).await.into_body().into_data_stream();
        (body.next().await.expect("bytes").expect("no break"), body)
    };
    let earlier = get().await;
    world.proxy.go_by(Arc::clone(&new) as Arc<dyn Ledger>);
    let later = get().await;
    go.add_permits(2);
    for ((begin, rest), ledger) in [(earlier, old), (later, new)] {
        assert!([&begin[..], &drain(rest).await.expect("no break")].concat() == body);
        assert!(ledger.learnt() == [body.clone()]);
    }
}
