use proptest::prelude::*;

use super::*;

const JSON: &str = r#"[
  {"version": "45 Beta", "arch": "x86_64", "link": "https://x.test/45_Beta/Testora-Everything-netinst-x86_64-45_Beta-1.2.iso"},
  {"version": "44", "arch": "x86_64", "link": "https://x.test/Testora-KDE-Live-x86_64-44-1.7.iso", "variant": "KDE", "size": "1"},
  {"version": "44", "arch": "x86_64", "link": "https://x.test/Testora-Everything-netinst-x86_64-44-1.7.iso", "subvariant": "E"},
  {"version": "47", "arch": "x86_64", "link": "https://x.test/Testora-Cloud-x86_64-47-1.1.qcow2"},
  {"version": "43", "arch": "x86_64", "link": "https://x.test/Testora-Everything-netinst-x86_64-43-1.6.iso"},
  {"version": "45", "arch": "aarch64", "link": "https://x.test/Testora-Everything-netinst-aarch64-45-1.3.iso"},
  {"arch": "x86_64"}
]"#;

fn image() -> ImageName {
    ImageName(format!("Testora-Everything-netinst-x86_64-{VERSION}-{LABEL}.iso"))
}

fn learnt() -> Timestamp {
    "2026-11-20T00:00:00Z".parse().expect("a time")
}

fn listing(json: &str) -> Listing {
    Listing::parse(json.as_bytes(), Some(&image()), "x86_64", learnt()).expect("a listing")
}

fn distro() -> Distro {
    toml::from_str(include_str!("../../../../tests/fixtures/rpm/distro.toml")).expect("a description")
}

fn label(label: &str) -> Option<String> {
    Some(label.to_owned())
}

#[test]
fn numbers_are_releases_and_labels_come_from_the_images() {
    assert_eq!(
        listing(JSON).releases,
        [
            Listed { version: 47, label: None },
            Listed { version: 44, label: label("1.7") },
            Listed { version: 43, label: label("1.6") },
        ]
    );
    let unsigned = Listing::parse(JSON.as_bytes(), None, "x86_64", learnt()).expect("a listing");
    assert_eq!(unsigned.releases[0], Listed { version: 47, label: label("") });
    let kept = serde_json::to_string(&listing(JSON)).expect("text");
    assert_eq!(serde_json::from_str::<Listing>(&kept).expect("its own text"), listing(JSON));
}

#[test]
fn a_label_cannot_lead_elsewhere() {
    for (link, expected) in [
        ("https://x.test/Testora-Everything-netinst-x86_64-44-1.7.iso", label("1.7")),
        ("Testora-Everything-netinst-x86_64-44-.iso", None),
        ("Testora-Everything-netinst-x86_64-44-1.7%2f..%2fx.iso", None),
        ("Testora-Everything-netinst-x86_64-44-1.7.iso.torrent", None),
        ("Testora-Everything-netinst-x86_64-43-1.7.iso", None),
        ("", None),
    ] {
        assert_eq!(image().label("44", link), expected, "{link}");
    }
}

#[test]
fn what_is_no_listing_is_an_error() {
    let parse = |json: &str, arch| Listing::parse(json.as_bytes(), Some(&image()), arch, learnt());
    for (json, arch, expected) in [
        ("<html>", "x86_64", "it is not a list of images"),
        ("{}", "x86_64", "it is not a list of images"),
        (&JSON[..JSON.len() - 5], "x86_64", "it is not a list of images"),
        ("[]", "x86_64", "it lists no release for x86_64"),
        (JSON, "s390x", "it lists no release for s390x"),
    ] {
        let error = format!("{:#}", parse(json, arch).expect_err(expected));
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn the_newest_release_with_an_image_is_taken_or_the_one_asked_for() {
    let (distro, listing) = (distro(), listing(JSON));
    let choose = |asked, listing, current| {
        let chosen = choose(&distro, asked, listing, current).expect("a release");
        (chosen.to_string(), chosen.label, chosen.signer.chars().take(2).collect::<String>())
    };
    let expected = |shown: &str, label: &str, signer: &str| (shown.to_owned(), label.to_owned(), signer.to_owned());
    let rows = [
        (None, Some(&listing), true, expected("44", "1.7", "36")),
        (None, None, false, expected("44", "1.6", "36")),
        (Some("43"), Some(&listing), true, expected("43", "1.6", "")),
        (Some("43"), None, false, expected("43", "", "")),
        (Some("47"), Some(&listing), true, expected("47", "", "")),
        // Older than all that are listed: ended, whatever the description says.
        (Some("42"), Some(&listing), true, expected("42 (ended)", "", "")),
        (Some("42"), None, true, expected("42", "", "")),
        (Some("38"), None, true, expected("38 (ended)", "", "")),
        // Listed between two that are, but not itself: as the description says.
        (Some("46"), Some(&listing), true, expected("46", "", "D9")),
    ];
    for (asked, listing, current, expected) in rows {
        assert_eq!(choose(asked, listing, current), expected, "{asked:?}");
    }
}

#[test]
fn what_nobody_knows_or_is_not_released_is_answered_with_what_is_known() {
    let (distro, mut listing) = (distro(), listing(JSON));
    let error = choose(&distro, Some("12"), Some(&listing), true).expect_err("no such release");
    let hinted = error.downcast_ref::<Hinted>().expect("a hint");
    assert_eq!(hinted.what, "Testora Linux \"12\" is not known");
    assert_eq!(hinted.hint, "known: 47, 44, 43, 42 (ended), 46, 38 (ended)");

    listing.releases.remove(0);
    let error = choose(&distro, Some("46"), Some(&listing), true).expect_err("not released");
    let hinted = error.downcast_ref::<Hinted>().expect("a hint");
    assert_eq!(hinted.what, "Testora Linux 46 is not released yet");
    assert_eq!(hinted.hint, "known: 44, 43, 42 (ended), 38 (ended)");
    // What was learnt long ago cannot know.
    assert_eq!(choose(&distro, Some("46"), Some(&listing), false).expect("from the description").version, "46");

    let error = choose(&distro, Some("x"), None, false).expect_err("no such release");
    let hint = &error.downcast_ref::<Hinted>().expect("a hint").hint;
    assert_eq!(hint, "known: 44, 43, 42, 46, 38 (ended)");
}

proptest! {
    #[test]
    fn any_damage_ends_in_a_verdict(at in 0..JSON.len(), byte: u8) {
        let mut json = JSON.as_bytes().to_vec();
        json[at] = byte;
        let _ = Listing::parse(&json, Some(&image()), "x86_64", learnt());
    }
}
