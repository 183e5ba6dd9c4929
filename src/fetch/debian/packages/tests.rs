use std::io::Write as _;

use super::*;
use crate::fetch::debian::package;

const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn stanza(name: &str, filename: &str) -> String {
    format!(
        "Package: {name}\nVersion: 1:2\nDescription: Package: not-a-field\n Package: nor-this\nFilename: {filename}\n\
         Size: 7\nSHA256: {DIGEST}\n"
    )
}

fn find_text(text: &str, wanted: &[&str]) -> anyhow::Result<HashMap<String, Package>> {
    find_in_text(text.as_bytes(), &wanted.iter().map(|&name| name.to_owned()).collect())
}

#[test]
fn finds_wanted_stanzas_also_the_last_without_a_blank_line() -> anyhow::Result<()> {
    let text = [stanza("a", "pool/a.deb"), stanza("b", "pool/b.deb"), stanza("c", "pool/c.deb")].join("\n");
    let found = find_text(&text, &["a", "c", "missing", "not-a-field"])?;
    let mut names: Vec<_> = found.iter().map(|(name, package)| (name.as_str(), package.filename.as_str())).collect();
    names.sort_unstable();
    assert_eq!(names, [("a", "pool/a.deb"), ("c", "pool/c.deb")]);
    let size = Some(7);
    assert_eq!(found["a"].expected, Expected { size, sha256: DIGEST.parse()? });
    Ok(())
}

#[test]
fn refuses_a_file_name_that_leaves_the_archive_and_lines_without_end() {
    for filename in ["", "/etc/passwd", "pool/../../x", "./x"] {
        assert!(find_text(&stanza("a", filename), &["a"]).is_err(), "{filename}");
    }
    let endless = "x".repeat(LINE_LIMIT as usize + 1);
    assert!(find_text(&endless, &["a"]).is_err());
    assert!(find(&b"not xz"[..], &BTreeSet::from(["a".into()])).is_err());
}

fn packed(form: &str, text: &[u8]) -> Vec<u8> {
    match form {
        ".xz" => package::xz(text),
        ".gz" => {
            let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gz.write_all(text).expect("a vector");
            gz.finish().expect("a vector")
        }
        ".zst" => zstd::encode_all(text, 1).expect("a vector"),
        _ => text.to_vec(),
    }
}

#[test]
fn every_package_of_an_index_is_known_by_its_path_however_it_is_compressed() -> anyhow::Result<()> {
    let names = ["zsh", "a", "g++", "b"];
    let text = names.map(|name| stanza(name, &format!("pool/{name}_1~2.deb"))).join("\n\n");
    for form in FORMS {
        let name = format!("Packages{form}");
        let table = table(&packed(form, text.as_bytes())[..], &name)?;
        assert_eq!(table.len(), 4, "{form}");
        for name in names {
            let found = table.find(&format!("pool/{name}_1~2.deb"));
            assert_eq!(found, Some(Expected { size: Some(7), sha256: DIGEST.parse()? }), "{form}");
        }
        assert_eq!(table.find("pool/c_1~2.deb"), None);
    }
    assert_eq!(table(&packed(".xz", b"")[..], "Packages.xz")?.len(), 0, "as of a suite without packages");
    Ok(())
}

#[test]
fn an_index_that_is_broken_is_not_half_an_index() {
    let text = (0..5000).map(|n| stanza("a", &format!("pool/{n}.deb"))).collect::<Vec<_>>().join("\n");
    for form in [".xz", ".gz", ".zst"] {
        let packed = packed(form, text.as_bytes());
        for (what, bytes) in
            [("cut", &packed[..packed.len() / 2]), ("other", b"<html>"), ("longer", &[&packed[..], b"x"].concat())]
        {
            assert!(table(bytes, &format!("Packages{form}")).is_err(), "{form} {what}");
        }
    }
}

#[test]
fn an_index_that_cannot_be_trusted_whole_is_refused() {
    let good = stanza("a", "pool/a.deb");
    for (text, why) in [
        (stanza("a", "../a.deb"), "no usable Filename"),
        (stanza("a", "pool//a.deb"), "no usable Filename"),
        (good.replace("SHA256:", "MD5sum:"), "reading the stanza of a"),
        (good.replace("Size: 7", "Size: -7"), "reading the stanza of a"),
        (format!("{good}\n{}", good.replace("Size: 7", "Size: 8")), "twice"),
        (format!("{good}X: {}", "x".repeat(LINE_LIMIT as usize)), "longer than"),
    ] {
        let error = table(text.as_bytes(), "Packages").expect_err(why);
        assert!(format!("{error:#}").contains(why), "{error:#}");
    }
    assert_eq!(table(format!("{good}\n{good}").as_bytes(), "Packages").expect("the same twice").len(), 1);
}
