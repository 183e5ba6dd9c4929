//! Which release of Debian is taken when nobody named one: by the mirror's word, kept for a start that cannot ask.

use provisioner::{
    distro::Catalogue,
    fetch::{Question, Sources, discover},
};
use url::Url;

use super::*;
use archive::Fault;

/// What a mirror whose `stable` is not the newest release leads to, start after start.
struct Starts {
    prefix: tempfile::TempDir,
    keyring: Keyring,
    client: Client,
}

impl Starts {
    fn new(key: &TestKey) -> anyhow::Result<Self> {
        let keyring = Keyring::load(&key.public(), &[])?;
        Ok(Self { prefix: tempfile::tempdir()?, keyring, client: client()? })
    }

    async fn ask(&self, mirror: &Url, version: Option<&str>, offline: bool) -> anyhow::Result<Sources> {
        let distro = Catalogue::embedded().distro("debian")?;
        let question = Question {
            distro: &distro,
            mirror: Some(mirror.clone()),
            version,
            flavour: &distro.default_flavour,
            arch: Arch::X86_64,
            prefix: self.prefix.path(),
            remember: true,
            offline,
            now: Timestamp::from_second(NOW)?,
        };
        discover(&question, &self.keyring, &self.client).await
    }

    /// Version, codename and notes when no version is named.
    async fn taken(&self, mirror: &Url, offline: bool) -> anyhow::Result<(String, String, Vec<String>)> {
        let Sources { release, notes, .. } = self.ask(mirror, None, offline).await?;
        Ok((release.version, release.codename, notes))
    }
}

fn bookworm(notes: &[String]) -> (String, String, Vec<String>) {
    ("12".into(), "bookworm".into(), notes.to_vec())
}

#[tokio::test]
async fn what_a_mirror_said_is_stable_holds_offline_too() -> anyhow::Result<()> {
    let (folder, key) = (tempfile::tempdir()?, TestKey::new(1));
    let root = folder.path().join("debian");
    MiniArchive::new("bookworm", "12.12").write(&root, &key)?;
    let server = FaultyServer::start(folder.path());
    let served: Url = format!("{}/debian", server.url()).parse()?;
    let directory = Url::from_directory_path(&root).expect("a URL");
    let when = "taking Debian 12, the stable one when it was asked on 2026-11-20";
    let offline = format!("--offline: {when}");

    for mirror in [&served, &directory] {
        let starts = Starts::new(&key)?;
        assert_eq!(starts.taken(mirror, false).await?, bookworm(&[]));
        server.asked();
        assert_eq!(starts.taken(mirror, true).await?, bookworm(std::slice::from_ref(&offline)));
        assert_eq!(server.paths(), [""; 0], "nobody was asked");
    }

    // It is the mirror's own answer, whatever user and slash are in the address, and no other mirror's.
    let starts = Starts::new(&key)?;
    let private = served.as_str().replace("http://", "http://me:secret@").parse()?;
    starts.taken(&private, false).await?;
    let slashed = format!("{served}/").parse()?;
    assert_eq!(starts.taken(&slashed, true).await?, bookworm(std::slice::from_ref(&offline)));
    let named = starts.ask(&served, Some("13"), true).await?;
    assert_eq!((named.release.version.as_str(), &*named.notes), ("13", &[][..]), "who names a version gets it");
    let known = "taking Debian 13, the newest one that is known without asking";
    let other = starts.taken(&"http://127.0.0.1:1/debian".parse()?, true).await?;
    assert_eq!(other, ("13".into(), "trixie".into(), vec![format!("--offline: {known}")]));
    let kept: Vec<_> = std::fs::read_dir(starts.prefix.path().join("releases"))?.flatten().collect();
    let [kept] = kept.as_slice() else { anyhow::bail!("one mirror was asked: {kept:?}") };
    assert!(!std::fs::read_to_string(kept.path())?.contains("secret"));

    // A mirror that answers no more said so the last time.
    for file in ["InRelease", "Release"] {
        server.always(&format!("/debian/dists/stable/{file}"), Fault::Status(403));
    }
    let silent = format!("{served} cannot say what is stable today");
    assert_eq!(starts.taken(&served, false).await?, bookworm(&[format!("{silent}: {when}")]));
    std::fs::write(kept.path(), b"{\"mirror\": 7")?;
    let damaged = starts.taken(&served, false).await?;
    assert_eq!(damaged, ("13".into(), "trixie".into(), vec![format!("{silent}: {known}")]));
    Ok(())
}
