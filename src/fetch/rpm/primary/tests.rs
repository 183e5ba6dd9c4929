use std::{fmt::Write as _, io::Read as _, time::Instant};

use proptest::prelude::*;

use super::*;

fn package(name: &str, arch: &str, (epoch, ver, rel): (&str, &str, &str), path: &str, digit: &str) -> String {
    format!(
        r#"<package type="rpm">
  <name>{name}</name><arch>{arch}</arch><version epoch="{epoch}" ver="{ver}" rel="{rel}"/>
  <checksum type="sha256" pkgid="YES">{}</checksum><summary>a &lt;b&gt;</summary><description>x &amp; y</description>
  <packager></packager><url>https://x.test/</url><time file="1" build="1"/>
  <size package="7" installed="8" archive="9"/><location href="{path}"/>
  <format><rpm:license>MIT</rpm:license><rpm:provides><rpm:entry name="name" flags="EQ"/></rpm:provides>
   <file>/usr/bin/x</file></format>
</package>
"#,
        digit.repeat(64)
    )
}

fn document(packages: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"1\">\n{packages}</metadata>\n"
    )
}

fn sample() -> String {
    document(
        &[
            package("shim-x64", "x86_64", ("0", "15.8", "9"), "Packages/s/shim-x64-15.8-9.x86_64.rpm", "1"),
            package("shim-x64", "x86_64", ("0", "16.1", "5"), "Packages/s/shim-x64-16.1-5.x86_64.rpm", "2"),
            package("shim-x64", "x86_64", ("0", "15.10", "1"), "Packages/s/shim-x64-15.10-1.x86_64.rpm", "3"),
            package("grub2-efi-x64", "x86_64", ("1", "2.12", "40.fc43"), "Packages/g/grub2-efi-x64.rpm", "4"),
            package("a+b~c", "noarch", ("", "1", "1"), "Packages/a/a+b~c.rpm", "5"),
        ]
        .concat(),
    )
}

fn digest(digit: &str) -> Expected {
    Expected { size: Some(7), sha256: digit.repeat(64).parse().expect("a digest") }
}

#[test]
fn packages_are_found_by_path_and_the_newest_by_name() {
    let text = sample();
    let (primary, length) = parse(text.as_bytes()).expect("a primary.xml");
    assert_eq!(length, text.len() as u64);
    assert_eq!(primary.entries().len(), 5);
    let found = primary.find("Packages/s/shim-x64-15.8-9.x86_64.rpm").expect("listed");
    assert_eq!((found.expected, found.version.as_str()), (digest("1"), "15.8-9"));
    assert_eq!(primary.find("Packages/s/shim-x64"), None);
    let newest = |name, arch| primary.newest(name, arch).map(|entry| (entry.version.as_str(), entry.expected));
    assert_eq!(newest("shim-x64", "x86_64"), Some(("16.1-5", digest("2"))));
    assert_eq!(newest("grub2-efi-x64", "x86_64"), Some(("1:2.12-40.fc43", digest("4"))));
    assert_eq!(newest("a+b~c", "noarch"), Some(("1-1", digest("5"))));
    assert_eq!(newest("shim-x64", "aarch64"), None);
}

#[test]
fn what_cannot_be_used_is_an_error() {
    let good = sample();
    let conflict = document(&[package("a", "x", ("0", "1", "1"), "a.rpm", "1"); 1].concat());
    let conflict = conflict.replace("</metadata>", &(package("a", "x", ("0", "1", "1"), "a.rpm", "2") + "</metadata>"));
    let rows = [
        (
            good.replace("Packages/g/", "../"),
            "reading the package grub2-efi-x64: \"../grub2-efi-x64.rpm\" is not a path",
        ),
        (good.replace("Packages/g/", "/"), "is not a path below the repository"),
        (good.replace(&"4".repeat(64), "4"), "reading the package grub2-efi-x64: \"4\" is not a SHA-256 digest"),
        (good.replace("sha256", "sha1"), "the package shim-x64 has no SHA-256 digest"),
        (good.replace("<name>shim-x64</name>", ""), "there is a package without a name"),
        (good.replace("<location href=\"Packages/g/grub2-efi-x64.rpm\"/>", ""), "grub2-efi-x64 has no location"),
        (good.replace("<location ", "<location xml:base=\"http://x.test/\" "), "it is kept in another place"),
        (good.replace("package=\"7\"", "package=\"-7\""), "reading the package shim-x64"),
        (good.replace(" ver=\"2.12\"", ""), "<version> has no ver"),
        (good.replace("</metadata>", ""), "it ends in the middle"),
        (good.replace("<metadata", "<!DOCTYPE m [<!ENTITY x 'y'>]><metadata"), "it has a document type"),
        (conflict, "it lists a.rpm twice, as different files"),
    ];
    for (text, expected) in rows {
        let error = format!("{:#}", parse(text.as_bytes()).expect_err(expected));
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn it_is_unpacked_as_its_name_says_and_to_the_length_that_is_listed() -> anyhow::Result<()> {
    let (folder, text) = (tempfile::tempdir()?, sample());
    let rows = [("primary.xml", text.as_bytes().to_vec()), ("primary.xml.zst", zstd::encode_all(text.as_bytes(), 3)?)];
    for (name, bytes) in rows {
        let (path, whole) = (folder.path().join(name), bytes.len());
        std::fs::write(&path, &bytes)?;
        let listed = |open_size| Listed { kind: "primary".into(), path: name.into(), expected: digest("1"), open_size };
        assert_eq!(read(&path, &listed(Some(text.len() as u64)))?.entries().len(), 5, "{name}");
        let error = read(&path, &listed(Some(7))).expect_err("another length").to_string();
        assert_eq!(error, format!("it unpacks to {} bytes instead of 7", text.len()));
        std::fs::write(&path, &bytes[..whole / 2])?;
        assert!(read(&path, &listed(None)).is_err(), "{name} cut in half");
    }
    let listed =
        Listed { kind: "primary".into(), path: "primary.xml.bz2".into(), expected: digest("1"), open_size: None };
    let error = read(&folder.path().join("primary.xml"), &listed).expect_err("bzip2").to_string();
    assert_eq!(error, "primary.xml.bz2 is compressed in a way that is not known here");
    Ok(())
}

#[test]
fn a_small_file_does_not_unpack_to_all_of_memory() {
    let endless = zstd::encode_all(io::repeat(b' ').take(40 << 20), 1).expect("compressed");
    assert!(endless.len() < 100_000);
    let unpacked = unpack(&endless[..], "primary.xml.zst").expect("zstd");
    let error = format!("{:#}", parse(unpacked).expect_err("blank"));
    assert!(error.contains("a piece of it is longer than"), "{error}");
}

proptest! {
    #[test]
    fn any_damage_ends_in_a_verdict(at in 0_usize..3000, byte: u8, cut in 0_usize..3000) {
        let mut text = sample().into_bytes();
        text[at] = byte;
        let _ = parse(&text[..]);
        prop_assert!(parse(&sample().as_bytes()[..cut]).is_err());
    }
}

/// Not a test: prints what Fedora's size costs. `cargo test --release --lib primary -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn measure_as_many_packages_as_fedora_has() -> anyhow::Result<()> {
    let mut packages = String::new();
    for number in 0_u32..76_000 {
        let name = format!("some-package-{number}");
        let path = format!("Packages/s/{name}-1.2.3-4.fc44.x86_64.rpm");
        let mut one = package(&name, "x86_64", ("0", "1.2.3", "4.fc44"), &path, "");
        let mut random = String::new();
        for word in 0..8_u32 {
            write!(random, "{:08x}", number.wrapping_mul(2_654_435_761).rotate_left(word * 3) ^ word)?;
        }
        one = one.replace("pkgid=\"YES\">", &format!("pkgid=\"YES\">{random}"));
        let mut entries = String::new();
        for entry in 0..25 {
            write!(
                entries,
                "<rpm:entry name=\"lib{number}.so.{entry}(GLIBC_2.{entry})(64bit)\" flags=\"EQ\" epoch=\"0\"/>"
            )?;
        }
        one = one.replace("</rpm:provides>", &format!("{entries}</rpm:provides>"));
        packages += &one;
    }
    let text = document(&packages);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("primary.xml.zst");
    std::fs::write(&path, zstd::encode_all(text.as_bytes(), 3)?)?;
    let (length, packed) = (text.len() as u64, std::fs::metadata(&path)?.len());
    drop((text, packages));
    let listed =
        Listed { kind: "primary".into(), path: "x.xml.zst".into(), expected: digest("1"), open_size: Some(length) };
    let (before, started) = (resident(), Instant::now());
    let primary = read(&path, &listed)?;
    eprintln!(
        "{} packages, {length} bytes from {packed}: {:?}, {} kB more resident",
        primary.entries().len(),
        started.elapsed(),
        resident().saturating_sub(before)
    );
    Ok(())
}

/// `VmRSS` in kB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
