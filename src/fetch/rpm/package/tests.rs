use std::io::Cursor;

use super::*;

/// A small package as its bytes, and where its main header begins.
fn package() -> anyhow::Result<(Vec<u8>, u64)> {
    let mut builder = rpm::PackageBuilder::new("loader", "1", "GPL-2.0-only", "noarch", "a test");
    builder
        .using_config(rpm::BuildConfig::default().compression(rpm::CompressionWithLevel::Zstd(3)))
        .with_file_contents([7; 3000], rpm::FileOptions::new("/usr/share/real"))?
        .with_symlink(rpm::FileOptions::symlink("/usr/share/link", "real"))?
        .with_symlink(rpm::FileOptions::symlink("/usr/share/circle", "circle"))?;
    let package = builder.build()?;
    let mut bytes = Vec::new();
    package.write(&mut bytes)?;
    Ok((bytes, package.metadata.get_package_segment_offsets().payload))
}

fn take(bytes: &[u8], paths: &[&str]) -> anyhow::Result<Vec<Vec<u8>>> {
    let folder = tempfile::tempdir()?;
    let rpm = folder.path().join("a.rpm");
    std::fs::write(&rpm, bytes)?;
    let to = |index: usize| folder.path().join(index.to_string());
    let wanted: Vec<_> =
        paths.iter().enumerate().map(|(index, path)| Wanted { path: (*path).into(), to: to(index) }).collect();
    let done = extract(&rpm, "loader", &wanted, None);
    if done.is_err() {
        assert!(wanted.iter().all(|file| !file.to.exists()), "nothing stays behind");
    }
    assert_eq!(done?.0.len(), paths.len());
    wanted.iter().map(|file| Ok(std::fs::read(&file.to)?)).collect()
}

#[test]
fn links_are_followed_and_one_file_may_be_wanted_twice() -> anyhow::Result<()> {
    let (bytes, _) = package()?;
    assert_eq!(take(&bytes, &["usr/share/link", "usr/share/real"])?, [vec![7; 3000], vec![7; 3000]]);
    for (path, expected) in [
        ("usr/share/circle", "usr/share/circle is a link that leads round in a circle"),
        ("usr/share/none", "there is no file usr/share/none in it"),
        ("usr/share", "there is no file usr/share in it"),
    ] {
        let error = take(&bytes, &["usr/share/real", path]).expect_err("not there");
        assert_eq!(format!("{error:#}"), expected);
    }
    Ok(())
}

#[test]
fn a_changed_byte_of_a_header_is_an_answer_or_an_error() -> anyhow::Result<()> {
    let (good, payload) = package()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("a.rpm");
    let mut refused = 0;
    // Some of them: all take minutes.
    for at in (96..usize::try_from(payload)?).step_by(61) {
        for now in [0xff, good[at] ^ 1] {
            let mut bytes = good.clone();
            bytes[at] = now;
            std::fs::write(&path, &bytes)?;
            // Everything that is asked of a package before and after its signature was looked at.
            let asked = verify(&path, "loader", None).and_then(|(package, _)| {
                package.raw_signatures()?;
                package.check_digests()?;
                Ok(package.metadata.get_file_entries()?.len())
            });
            refused += usize::from(asked.is_err());
        }
    }
    assert!(refused > 10, "{refused}");
    Ok(())
}

#[test]
fn headers_that_lie_about_themselves_are_refused() -> anyhow::Result<()> {
    let (good, _) = package()?;
    let changed = |at: usize, bytes: &[u8]| {
        let mut all = good.clone();
        all[at..at + bytes.len()].copy_from_slice(bytes);
        frame::check(&mut Cursor::new(all)).map_err(|error| format!("{error:#}"))
    };
    assert_eq!(changed(96, &[0x8e]), Ok(()));
    // The first header begins at 96: magic, reserved, entries, length of the data, then tag, kind, offset and count.
    for (at, bytes, expected) in [
        (96, &[0][..], "there is no header"),
        (104, &[0, 1, 0, 0], "it has 65536 entries"),
        (108, &[0xff; 4], "bytes of data"),
        (116, &[0, 0, 0, 10], "is of an unknown kind, 10"),
        (120, &[0xff; 4], "points outside of it"),
        (124, &[0x7f; 4], "points outside of it"),
    ] {
        let error = changed(at, bytes).expect_err("a lie");
        assert!(error.starts_with("in the header of the signatures: ") && error.contains(expected), "{error}");
    }
    for length in [0, 100, 120, 300] {
        assert!(frame::check(&mut Cursor::new(&good[..length])).is_err(), "{length}");
    }
    Ok(())
}
