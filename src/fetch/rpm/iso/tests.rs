use std::{os::unix::fs::FileExt, path::PathBuf, process::Command};

use super::*;

/// An image of twenty sectors: descriptors, a root directory with these records, and `content` in the last sector.
fn image(records: &[Vec<u8>]) -> Vec<u8> {
    let mut image = vec![0; 20 * SECTOR as usize];
    let mut put = |sector: usize, at: usize, bytes: &[u8]| {
        let start = sector * SECTOR as usize + at;
        image[start..start + bytes.len()].copy_from_slice(bytes);
    };
    put(16, 0, b"\x01CD001\x01");
    put(16, 128, &2048_u16.to_le_bytes());
    put(16, 156, &entry(b"\0", 18, 2048, DIRECTORY, b""));
    put(17, 0, b"\xffCD001\x01");
    let mut at = 0;
    for record in records {
        put(18, at, record);
        at += record.len();
    }
    put(19, 0, b"content");
    image
}

fn entry(name: &[u8], extent: u32, length: u32, flags: u8, rock_ridge: &[u8]) -> Vec<u8> {
    let mut record = vec![0; 33];
    record[2..6].copy_from_slice(&extent.to_le_bytes());
    record[10..14].copy_from_slice(&length.to_le_bytes());
    record[25] = flags;
    record[32] = name.len() as u8;
    record.extend(name);
    record.resize(record.len().next_multiple_of(2), 0);
    record.extend(rock_ridge);
    record[0] = record.len() as u8;
    record
}

fn nm(name: &str) -> Vec<u8> {
    [&[b'N', b'M', 5 + name.len() as u8, 1, 0], name.as_bytes()].concat()
}

/// The content of a file of the image, or what is wrong.
fn take(image: &[u8], path: &str) -> Result<Vec<u8>, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let (iso, to) = (folder.path().join("a.iso"), folder.path().join("to"));
    std::fs::write(&iso, image).expect("an image");
    let wanted = Wanted { path: path.into(), to: to.clone() };
    match extract(&iso, &[wanted]) {
        Ok(done) => {
            let bytes = std::fs::read(to).expect("what was unpacked");
            assert_eq!(done, [(bytes.len() as u64, digest::of_bytes(&bytes))]);
            Ok(bytes)
        }
        Err(error) => {
            assert!(!to.exists(), "nothing stays behind");
            Err(format!("{error:#}"))
        }
    }
}

#[test]
fn files_are_found_by_either_name() {
    let rock_ridge = image(&[entry(b"VMLINUZ.;1", 19, 7, 0, &nm("vmlinuz"))]);
    assert_eq!(take(&rock_ridge, "vmlinuz"), Ok(b"content".to_vec()));
    assert_eq!(take(&rock_ridge, "VMLINUZ"), Err("looking for VMLINUZ in the image: there is no VMLINUZ in it".into()));
    let plain = image(&[entry(b"BOOT.IMG;1", 19, 7, 0, b""), entry(b"VMLINUZ.;1", 19, 3, 0, b"")]);
    assert_eq!(take(&plain, "BOOT.IMG"), Ok(b"content".to_vec()));
    assert_eq!(take(&plain, "VMLINUZ"), Ok(b"con".to_vec()));
    let in_two_fields = image(&[entry(b"X;1", 19, 7, 0, &[nm("vml"), nm("inuz")].concat())]);
    assert_eq!(take(&in_two_fields, "vmlinuz"), Ok(b"content".to_vec()));
}

#[test]
fn hostile_images_are_errors() {
    let cut = |length: usize| image(&[entry(b"A", 19, 7, 0, b"")])[..length * SECTOR as usize].to_vec();
    let mut long = entry(b"A", 19, 7, 0, b"");
    long[32] = 200;
    let mut short = entry(b"A", 19, 7, 0, b"");
    short[0] = 20;
    let mut wide = image(&[]);
    wide[16 * SECTOR as usize + 129] = 0x10;
    let rows: [(Vec<u8>, &str, &str); 16] = [
        (vec![0; 40_000], "A", "it is not an ISO 9660 image"),
        (cut(3), "A", "reading the volume descriptors"),
        (cut(18), "A", "behind the end of the image"),
        (cut(19), "A", "A ends at 38919, behind the end of the image at 38912"),
        (wide, "A", "it has blocks of 4096 bytes"),
        (image(&[entry(b"A", u32::MAX, u32::MAX, 0, b"")]), "A", "behind the end of the image"),
        (image(&[entry(b"A", u32::MAX, 2048, DIRECTORY, b"")]), "A/B", "behind the end of the image"),
        (image(&[entry(b"A", 18, u32::MAX, DIRECTORY, b"")]), "A/B", "the directory A has 4294967295 bytes"),
        // A directory that holds itself: there is an end to the path that is wanted.
        (image(&[entry(b"A", 18, 2048, DIRECTORY, b"")]), "A/A/A/A/A/B", "there is no B in it"),
        (image(&[entry(b"A", 18, 2048, DIRECTORY, b"")]), "A", "it is a directory"),
        (image(&[entry(b"A", 19, 7, 0, b"")]), "A/B", "A is not a directory"),
        (image(&[entry(b"A", 19, 7, MULTI_EXTENT, b"")]), "A", "A is not one run of bytes in the image"),
        (image(&[entry(b"A", 19, 7, 0, b"PX\x08\x01\xff\xa1\0\0")]), "A", "A is not a regular file"),
        (image(&[long]), "A", "a record is shorter than its name"),
        (image(&[short]), "A", "a record has 20 bytes"),
        (image(&[entry(b"B", 19, 7, 0, b"").repeat(60), vec![255]]), "A", "a record is longer than its sector"),
    ];
    for (image, path, expected) in rows {
        let error = take(&image, path).expect_err("hostile");
        assert!(error.contains(expected), "{error}\nnot {expected}");
    }
    // Fields of Rock Ridge that are too short, or go on behind the record, say nothing.
    for field in [&b"NM\x04\x01"[..], b"NM\x03\x01x", b"NM\xff\x01\0abc", b"PX\x05\x01\0", b"NM\x06\x01\x02."] {
        assert_eq!(take(&image(&[entry(b"A", 19, 7, 0, field)]), "A"), Ok(b"content".to_vec()), "{field:?}");
    }
    assert_eq!(
        take(&image(&[entry(b"..", 19, 7, 0, &nm("../../x"))]), "x"),
        Err("looking for x in the image: there is no x in it".into())
    );
}

#[test]
fn a_changed_byte_changes_an_answer_at_most() {
    let inner = entry(b"VMLINUZ.;1", 19, 7, 0, &[nm("vmlinuz"), b"PX\x08\x01\xa4\x81\0\0".to_vec()].concat());
    let good =
        image(&[entry(b"\0", 18, 2048, DIRECTORY, b""), entry(b"IMAGES", 18, 2048, DIRECTORY, &nm("images")), inner]);
    let file = tempfile::tempfile().expect("a file");
    file.write_all_at(&good, 0).expect("an image");
    let mut image = Image { size: good.len() as u64, file };
    let mut look = |path: &str| image.find(path).and_then(|record| image.check(&record).map(|()| record.length));
    assert_eq!(look("images/images/vmlinuz").ok(), Some(7));
    let (descriptor, directory) = (16 * SECTOR, 18 * SECTOR);
    for at in (descriptor..descriptor + 200).chain(directory..directory + 220) {
        let was = good[at as usize];
        for now in [0, 1, 2, 0x7f, 0x80, 0xff, was ^ 1, was ^ 0x80] {
            image.file.write_all_at(&[now], at).expect("an image");
            for path in ["images/images/vmlinuz", "vmlinuz", "x"] {
                if let Ok(record) = image.find(path).and_then(|record| image.check(&record).map(|()| record)) {
                    assert!(record.start + record.length <= image.size);
                }
            }
        }
        image.file.write_all_at(&[was], at).expect("an image");
    }
}

#[test]
fn an_image_by_xorriso_is_read() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (tree, iso) = (folder.path().join("tree"), folder.path().join("a.iso"));
    let long = "a-name-that-is-longer-than-what-iso-9660-has-room-for.img";
    std::fs::create_dir_all(tree.join("images/pxeboot"))?;
    // More records than a sector holds.
    for number in 0..40 {
        std::fs::write(tree.join(format!("images/pxeboot/file-number-{number:03}.img")), [number])?;
    }
    std::fs::write(tree.join(format!("images/{long}")), vec![7; 100_000])?;
    std::os::unix::fs::symlink(long, tree.join("images/link"))?;
    let mut xorriso = Command::new("xorriso");
    match xorriso.args(["-as", "mkisofs", "-quiet", "-R", "-J", "-o"]).arg(&iso).arg(&tree).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "xorriso is missing: {error}");
            eprintln!("skipped: there is no xorriso here ({error})");
            return Ok(());
        }
    }
    let to = |name: &str| -> PathBuf { folder.path().join(name) };
    let wanted = |path: &str, name: &str| Wanted { path: path.into(), to: to(name) };
    let asked = [wanted("images/pxeboot/file-number-039.img", "one"), wanted(&format!("images/{long}"), "two")];
    let done = extract(&iso, &asked)?;
    assert_eq!((done[0].0, done[1].0), (1, 100_000));
    assert_eq!((std::fs::read(to("one"))?, std::fs::read(to("two"))?), (vec![39], vec![7; 100_000]));
    let error = extract(&iso, &[wanted("images/link", "three")]).expect_err("a link");
    assert_eq!(format!("{error:#}"), "unpacking images/link: link is not a regular file");
    Ok(())
}
