use super::*;
use crate::fetch::debian::package::{Deb, members, xz};

fn extract_from(bytes: &[u8], paths: &[&str]) -> anyhow::Result<Vec<Vec<u8>>> {
    let folder = tempfile::tempdir()?;
    let deb = folder.path().join("a.deb");
    std::fs::write(&deb, bytes)?;
    let to = |index: usize| folder.path().join(index.to_string());
    let wanted: Vec<_> =
        paths.iter().enumerate().map(|(index, path)| Wanted { path: (*path).to_owned(), to: to(index) }).collect();
    let done = extract(&deb, &wanted);
    if done.is_err() {
        assert!(wanted.iter().all(|file| !file.to.exists()), "nothing stays behind");
    }
    let mut contents = Vec::new();
    for (wanted, (size, sha256)) in wanted.iter().zip(done?) {
        assert_eq!(digest::of_file(&wanted.to)?, (size, sha256));
        contents.push(std::fs::read(&wanted.to)?);
    }
    Ok(contents)
}

fn error(bytes: &[u8], path: &str) -> String {
    format!("{:#}", extract_from(bytes, &[path]).expect_err("hostile or damaged"))
}

#[test]
fn takes_files_out_in_the_order_they_are_wanted() -> anyhow::Result<()> {
    let long = format!("usr/{}/file", "long/".repeat(40));
    let deb = Deb::new("a", "1").file("usr/lib/x", b"x").file("usr/lib/xy", b"odd").file(&long, b"long");
    let found = extract_from(&deb.build(), &[&long, "usr/lib/x", "usr/lib/x"])?;
    assert_eq!(found, [&b"long"[..], b"x", b"x"]);
    Ok(())
}

#[test]
fn follows_links_before_and_after_their_target() -> anyhow::Result<()> {
    let deb = Deb::new("ipxe", "1")
        .symlink("usr/lib/before", "real/../real/file")
        .file("usr/lib/real/file", b"content")
        .symlink("boot/absolute", "/usr/lib/before")
        .symlink("lib", "usr/lib")
        .hard_link("usr/hard", "usr/lib/real/file");
    let found = extract_from(&deb.build(), &["usr/lib/before", "boot/absolute", "lib/real/file", "usr/hard"])?;
    assert!(found.iter().all(|content| content == b"content"), "{found:?}");
    Ok(())
}

#[test]
fn hostile_links_are_errors() {
    let deb = Deb::new("a", "1").symlink("out", "../../etc/shadow").symlink("a", "b").symlink("b", "a");
    let deb = deb.symlink("grow", "grow/grow").symlink("dangling", "nowhere").build();
    assert_eq!(error(&deb, "out"), "out is a link that leads out of the package");
    for circle in ["a", "grow"] {
        assert_eq!(error(&deb, circle), format!("{circle} is a link that leads round in a circle"));
    }
    assert_eq!(error(&deb, "dangling"), "there is no file dangling in it");
    assert_eq!(error(&deb, "missing"), "there is no file missing in it");
}

#[test]
fn damaged_packages_are_errors() {
    let deb = Deb::new("a", "1").file("x", &[7; 5000]).build();
    for length in 0..deb.len() - 1 {
        // Behind the file only padding of tar and xz follows, which nobody needs to read.
        if let Ok(found) = extract_from(&deb[..length], &["x"]) {
            assert_eq!(found, [vec![7; 5000]], "{length}");
        }
    }
    assert_eq!(error(b"<html>not a package</html>", "x"), "it is not a Debian package");
    let zst = members(&[("debian-binary", b"2.0\n"), ("data.tar.zst", b"")]);
    assert_eq!(error(&zst, "x"), "the package is compressed as data.tar.zst; only xz is read");
}

#[test]
fn lengths_are_not_believed() {
    let mut huge = tar::Header::new_gnu();
    huge.set_path("x").expect("a short path");
    huge.set_size(1 << 40);
    huge.set_cksum();
    let mut long = tar::Header::new_gnu();
    long.set_entry_type(EntryType::GNULongName);
    long.set_size(1 << 30);
    long.set_cksum();
    let mut pax = tar::Header::new_ustar();
    pax.set_entry_type(EntryType::XHeader);
    pax.set_size(0);
    pax.set_cksum();
    for (header, why) in [(huge, "more than"), (long, "a path of"), (pax, "do not use")] {
        let deb = members(&[("data.tar.xz", &xz(header.as_bytes()))]);
        assert!(error(&deb, "x").contains(why), "{}", error(&deb, "x"));
    }
    // A member that claims to be larger than the file ends with the file.
    let mut deb = members(&[("data.tar", &Deb::new("a", "1").file("x", b"x").data_tar())]);
    deb.truncate(8 + 60 + 512);
    deb[8 + 48..8 + 58].copy_from_slice(b"9999999999");
    assert!(extract_from(&deb, &["x"]).is_err());
}
