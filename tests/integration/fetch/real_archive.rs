//! The chain over a real archive: the one this machine's own apt is set to, if it is Debian's.

use super::*;

const DEBIAN_KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/templates/distros/debian/keys/archive.pgp");

/// The first plain address in apt's configuration that looks like Debian's main archive.
fn apts_mirror() -> Option<String> {
    let folder = std::fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path());
    let files = [PathBuf::from("/etc/apt/sources.list")].into_iter().chain(folder);
    let text: String = files
        .filter(|path| path.extension().is_some_and(|kind| kind == "list" || kind == "sources"))
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .collect();
    let lines = text.lines().filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"));
    let words = lines.flat_map(str::split_ascii_whitespace);
    words
        .filter(|word| word.starts_with("http://"))
        .map(|word| word.trim_end_matches('/'))
        .find(|word| word.ends_with("/debian"))
        .map(str::to_owned)
}

#[tokio::test]
async fn debians_shim_comes_through_the_whole_chain() -> anyhow::Result<()> {
    let Some(mirror) = apts_mirror() else {
        eprintln!("skipped: apt on this machine names no Debian mirror");
        return Ok(());
    };
    let keyring = Keyring::load(&std::fs::read(DEBIAN_KEYS)?, &[])?;
    let (client, now, folder) = (client()?, Timestamp::now(), tempfile::tempdir()?);
    let mut release = release(&mirror)?;
    let stable = newest_stable(&release.distro, &release.archive().url, &keyring, &client, now).await?;
    assert!(stable.version.parse::<u32>().is_ok_and(|version| version >= 13), "{stable:?}");

    // Only the loader: kernel and initrd are 150 MB of somebody's bandwidth.
    let path = "usr/lib/shim/shimx64.efi.signed".to_owned();
    let source = Source::Package { codename: stable.codename.clone(), package: "shim-signed".into(), path };
    let shim = Artifact { name: "shimx64.efi".into(), sources: vec![source] };
    (release.codename, release.kernel, release.initrd, release.loaders) = (stable.codename, shim.clone(), shim, vec![]);
    let request = Request {
        release: &release,
        keyring: &keyring,
        folder: folder.path(),
        client: &client,
        trust: None,
        suites: &Suites::default(),
        packages: &|_, _| Ok(None),
        offline: false,
        now,
    };
    let set = obtain(&request, &|line| eprintln!("{line}")).await?;
    let shim = set.file("shimx64.efi").context("in the set")?;
    eprintln!("{}\n{}", set.provenance(), shim.origin);
    assert!(std::fs::read(&shim.path)?.starts_with(b"MZ"), "a PE image");
    // Which point release is the mirror's affair: `stable` and the codename may be days apart on it.
    assert!(set.provenance().starts_with(&format!("Debian {}.", stable.version)), "{}", set.provenance());
    Ok(())
}
