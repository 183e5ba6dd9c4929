use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::*;
use crate::{mirror::layout::Body, model::Removal};

const KEY: &str = "debian/pool/main/h/hello/hello_2.10-3_amd64.deb";

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), None).expect("opened");
    (folder, store)
}

fn publish(store: &Store, key: &str, body: &[u8], etag: &str) {
    let part = store.part().expect("a part");
    part.sink.write_all_at(body, 0).expect("written");
    let sha256 = Sha256Digest(Sha256::digest(body).into());
    let record = Record { head: &head(etag), sha256, verified: false };
    store.publish(part, key, &record).expect("published");
}

fn head(etag: &str) -> Head {
    Head { etag: Some(etag.into()), ..Head::default() }
}

#[test]
fn what_was_published_is_found_with_what_upstream_said() {
    let (folder, store) = store();
    assert!(store.lookup(KEY).expect("a lookup").is_none());
    publish(&store, KEY, b"hello", "\"1\"");
    let found = Store::open(folder.path(), None).expect("opened").lookup(KEY).expect("a lookup").expect("found");
    assert_eq!((found.entity.length, &*found.entity.head), (Some(5), &head("\"1\"")));
    assert_eq!(fs::read(folder.path().join(KEY)).expect("under its own name"), b"hello");
    assert!(store.lookup("debian/pool").expect("a lookup").is_none(), "a folder is no file");
    assert!(store.lookup(&format!("{KEY}/below")).expect("a lookup").is_none(), "a file is no folder");
}

#[test]
fn a_sidecar_of_another_body_does_not_count() {
    let (folder, store) = store();
    publish(&store, KEY, b"first", "\"1\"");
    let name = stored_name(KEY);
    let (body, sidecar) = (store.layout.body(&name), store.layout.sidecar(&name));
    // As if killed between the two renames, or with a sidecar torn by a power cut.
    let cases: [&dyn Fn(); 4] = [
        &|| fs::write(&body, b"other length").expect("written"),
        &|| {
            let file = File::options().write(true).open(&body).expect("opened");
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("set");
        },
        &|| fs::write(&sidecar, b"{\"length\":").expect("written"),
        &|| fs::remove_file(&sidecar).expect("removed"),
    ];
    for (number, spoil) in cases.iter().enumerate() {
        publish(&store, KEY, b"first", "\"1\"");
        spoil();
        let found = store.lookup(KEY).expect("a lookup").expect("found");
        assert_eq!(*found.entity.head, Head::default(), "case {number}");
    }
    assert!(folder.path().join(KEY).exists());
}

#[test]
fn leftovers_go_and_what_somebody_writes_stays() {
    let (folder, store) = store();
    publish(&store, KEY, b"hello", "\"1\"");
    publish(&store, "debian/.part-7", b"a file of upstream", "\"2\"");
    let leftover = folder.path().join(".part-1-1");
    fs::write(&leftover, b"half").expect("written");
    let live = store.part().expect("a part");
    let again = Store::open(folder.path(), None).expect("opened");
    assert!(!leftover.exists() && live.path.exists());
    assert!(again.lookup("debian/.part-7").expect("a lookup").is_some());
    let path = live.path.clone();
    drop(live);
    assert!(!path.exists(), "unpublished is gone");
}

/// The files that are there, the least recently used first.
fn keys(store: &Store) -> Vec<String> {
    let mut bodies = store.layout.bodies().expect("a walk");
    bodies.sort_by_key(|body| body.used);
    bodies.iter().map(|body| body.name.display().to_string()).collect()
}

fn find(store: &Store, key: &str) -> Body {
    store.layout.find(&stored_name(key)).expect("a body")
}

/// As if a file had been used last that many hours ago.
fn used(store: &Store, key: &str, hours: u64) {
    let sidecar = File::open(store.layout.sidecar(&stored_name(key))).expect("a sidecar");
    sidecar.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).expect("set");
}

#[test]
fn above_its_limit_the_store_loses_what_was_used_least_recently() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), Some(1000)).expect("opened");
    for (key, hours) in [("debian/a", 1), ("debian/deep/down/b", 9), ("debian/c", 5), ("debian/d", 2)] {
        publish(&store, key, &[0; 240], "\"1\"");
        used(&store, key, hours);
    }
    store.room.trim();
    assert_eq!(keys(&store), ["debian/deep/down/b", "debian/c", "debian/d", "debian/a"], "960 of 1000");
    store.lookup("debian/c").expect("a lookup").expect("found");
    publish(&store, "debian/e", &[0; 240], "\"1\"");
    store.room.trim();
    assert_eq!(keys(&store), ["debian/d", "debian/a", "debian/c", "debian/e"]);
    assert!(!folder.path().join("debian/deep").exists() && !folder.path().join(".meta/debian/deep").exists());
    assert!(!store.room.fits(1001) && store.room.fits(1000));
}

#[test]
fn what_is_read_stays_whoever_evicts() {
    let (folder, store) = store();
    publish(&store, KEY, b"hello", "\"1\"");
    let other = Store::open(folder.path(), Some(0)).expect("opened");
    let reader = store.lookup(KEY).expect("a lookup").expect("found");
    other.room.trim();
    assert_eq!(keys(&other), [KEY]);
    assert_eq!(other.layout.evict(&find(&other, KEY), Intent::Remove).expect("looked at"), Removal::InUse);
    drop(reader);
    assert_eq!(other.layout.evict(&find(&other, KEY), Intent::Look).expect("looked at"), Removal::Done);
    assert_eq!(keys(&other), [KEY], "only looked at");
    assert_eq!(other.layout.evict(&find(&other, KEY), Intent::Remove).expect("evicted"), Removal::Done);
    assert!(store.lookup(KEY).expect("a lookup").is_none());
}

#[test]
fn what_a_flight_has_just_landed_is_in_use_by_its_readers() {
    let (_folder, store) = store();
    let part = store.part().expect("a part");
    part.sink.write_all_at(b"hello", 0).expect("written");
    let reader = part.sink.clone();
    let record = Record { head: &Head::default(), sha256: Sha256Digest([0; 32]), verified: true };
    store.publish(part, KEY, &record).expect("published");
    let next = store.lookup(KEY).expect("a lookup").expect("shared with the first reader");
    assert_eq!(next.sha256, Some(Sha256Digest([0; 32])));
    drop(next);
    assert_eq!(store.layout.evict(&find(&store, KEY), Intent::Remove).expect("looked at"), Removal::InUse);
    drop(reader);
    assert_eq!(store.layout.evict(&find(&store, KEY), Intent::Remove).expect("evicted"), Removal::Done);
}

#[test]
fn an_eviction_does_not_hit_the_successor() {
    let (_folder, store) = store();
    publish(&store, KEY, b"first", "\"1\"");
    let first = find(&store, KEY);
    // Its inode is not given to the second one while somebody has it open.
    let _reader = File::open(store.layout.body(&first.name)).expect("opened");
    publish(&store, KEY, b"second", "\"2\"");
    assert_eq!(store.layout.evict(&first, Intent::Remove).expect("looked at"), Removal::Gone);
    assert_eq!(store.layout.discard(&first).expect("looked at"), Removal::Gone);
    assert_eq!(store.lookup(KEY).expect("a lookup").expect("found").entity.length, Some(6));
    let reader = store.lookup(KEY).expect("a lookup");
    assert_eq!(store.layout.discard(&find(&store, KEY)).expect("removed"), Removal::Done, "damaged, though in use");
    drop(reader);
    assert!(keys(&store).is_empty());
}

#[test]
fn a_sidecar_without_a_body_is_a_leftover() {
    let (_folder, store) = store();
    for key in [KEY, "debian/b"] {
        publish(&store, key, b"hello", "\"1\"");
    }
    fs::remove_file(store.layout.body(&stored_name(KEY))).expect("removed");
    let live = store.part().expect("a part");
    fs::write(store.layout.folder.join(".part-1-1"), b"half").expect("written");
    for (mode, count) in [(Intent::Look, 2), (Intent::Remove, 2), (Intent::Remove, 0)] {
        assert_eq!(store.layout.remove_leftovers(mode).expect("removed"), count, "{mode:?}");
    }
    assert!(live.path.exists() && store.lookup("debian/b").expect("a lookup").is_some());
    assert!(!store.layout.sidecar(&stored_name(KEY)).exists());
}
