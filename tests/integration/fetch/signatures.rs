//! Which signatures count, and what is said of those that do not.

use super::*;
use archive::{Binding, CREATED, KeySpec, SIGNED, cleartext};
use provisioner::fetch::{SignatureError, Signed};

const TEXT: &str = "Suite: stable\n- a dash\n-----BEGIN nothing\n\nThe end";
const AT: u32 = SIGNED as u32;

fn keyring(keys: &[&TestKey]) -> anyhow::Result<Keyring> {
    let bytes: Vec<_> = keys.iter().map(|key| key.public()).collect();
    Keyring::load(&bytes.concat(), &[])
}

fn verify(keys: &[&TestKey], message: &str, now: i64) -> anyhow::Result<Result<Signed, SignatureError>> {
    Ok(keyring(keys)?.verify_cleartext(message.as_bytes(), Timestamp::from_second(now)?))
}

#[test]
fn one_good_signature_by_a_known_key_is_enough() -> anyhow::Result<()> {
    let (known, stranger) = (TestKey::new(1), TestKey::new(2));
    let good = Signed { text: TEXT.into(), signer: known.fingerprint(), signed_at: Timestamp::from_second(SIGNED)? };
    for signers in [&[&known][..], &[&stranger, &known], &[&known, &stranger]] {
        assert_eq!(verify(&[&known], &cleartext(TEXT, signers, AT), NOW)?, Ok(good.clone()));
    }
    let detached = known.detached(TEXT, AT);
    let now = Timestamp::from_second(NOW)?;
    assert_eq!(keyring(&[&known])?.verify_detached(TEXT.as_bytes(), detached.as_bytes(), now), Ok(good));
    let altered = keyring(&[&known])?.verify_detached(b"another text", detached.as_bytes(), now);
    assert_eq!(altered, Err(SignatureError::Altered { signer: known.fingerprint() }));
    let unsigned = keyring(&[&known])?.verify_detached(TEXT.as_bytes(), b"", now);
    assert_eq!(unsigned, Err(SignatureError::NotSigned));
    Ok(())
}

#[test]
fn strangers_are_named() -> anyhow::Result<()> {
    let (known, a, b) = (TestKey::new(1), TestKey::new(2), TestKey::new(3));
    let verdict = verify(&[&known], &cleartext(TEXT, &[&a, &b], AT), NOW)?;
    let keys = vec![a.fingerprint(), b.fingerprint()];
    assert_eq!(verdict, Err(SignatureError::UnknownSigner { keys: keys.clone() }));
    assert_eq!(
        SignatureError::UnknownSigner { keys: keys.clone() }.to_string(),
        format!("it is signed only by keys that are not trusted here: {}, {}", keys[0], keys[1])
    );
    Ok(())
}

#[test]
fn an_altered_text_is_told_from_a_stranger() -> anyhow::Result<()> {
    let (known, stranger) = (TestKey::new(1), TestKey::new(2));
    let message = cleartext(TEXT, &[&stranger, &known], AT).replace("stable", "unstable");
    assert_eq!(verify(&[&known], &message, NOW)?, Err(SignatureError::Altered { signer: known.fingerprint() }));
    Ok(())
}

#[test]
fn keys_end() -> anyhow::Result<()> {
    let lifetime = Some(86_400 * 1000);
    let key = TestKey::build(KeySpec { seed: 1, lifetime, ..KeySpec::default() });
    let message = key.cleartext(TEXT, AT);
    let end = i64::from(CREATED) + 86_400 * 1000;
    assert!(verify(&[&key], &message, end - 1)?.is_ok());
    let error = verify(&[&key], &message, end)?.expect_err("expired");
    assert_eq!(error, SignatureError::ExpiredKey { signer: key.fingerprint(), since: Timestamp::from_second(end)? });
    assert_eq!(error.to_string(), format!("it is signed by {}, a key that expired on 2026-09-27", key.fingerprint()));

    let revoked = TestKey::build(KeySpec { seed: 2, revoked: true, ..KeySpec::default() });
    let verdict = verify(&[&revoked], &revoked.cleartext(TEXT, AT), NOW)?;
    assert_eq!(verdict, Err(SignatureError::RevokedKey { signer: revoked.fingerprint() }));
    Ok(())
}

#[test]
fn subkeys_count_when_both_keys_say_so() -> anyhow::Result<()> {
    let build = |binding| TestKey::build(KeySpec { seed: 1, subkey: Some(binding), ..KeySpec::default() });
    let bound = build(Binding::Mutual);
    let signed = verify(&[&bound], &bound.cleartext(TEXT, AT), NOW)?;
    assert_eq!(signed.map(|signed| signed.signer), Ok(bound.fingerprint()), "the primary key is what is named");

    let claimed = build(Binding::OneSided);
    let verdict = verify(&[&claimed], &claimed.cleartext(TEXT, AT), NOW)?;
    assert_eq!(verdict, Err(SignatureError::UnknownSigner { keys: vec![claimed.signing_fingerprint()] }));

    let revoked = build(Binding::Revoked);
    let verdict = verify(&[&revoked], &revoked.cleartext(TEXT, AT), NOW)?;
    assert_eq!(verdict, Err(SignatureError::RevokedKey { signer: revoked.fingerprint() }));
    Ok(())
}

#[test]
fn signatures_of_the_future_and_over_weak_digests_do_not_count() -> anyhow::Result<()> {
    let key = TestKey::new(1);
    let message = key.cleartext(TEXT, AT);
    assert!(verify(&[&key], &message, SIGNED - 86_400)?.is_ok(), "a day of slack");
    let error = verify(&[&key], &message, SIGNED - 86_401)?.expect_err("in the future");
    assert_eq!(
        error.to_string(),
        format!(
            "the signature by {} was made on 2026-09-12, which is in the future: is this machine's clock right?",
            key.fingerprint()
        )
    );
    let error = verify(&[&key], &key.cleartext_over_sha1(TEXT, AT), NOW)?.expect_err("weak");
    assert_eq!(
        error.to_string(),
        format!("the signature by {} is of a kind that is not believed (SHA1, Some(Text))", key.fingerprint())
    );
    Ok(())
}

#[test]
fn keyrings_are_read_binary_armoured_and_from_several_files() -> anyhow::Result<()> {
    let (a, b, c) = (TestKey::new(1), TestKey::new(2), TestKey::new(3));
    let armored = format!("a comment\n{}\n{}", b.armored(), c.armored());
    assert!(
        Keyring::load(&a.public(), &[armored.into_bytes()]).is_err(),
        "text before the armour is not binary either"
    );
    let keyring = Keyring::load(&a.public(), &[format!("{}\n{}", b.armored(), c.armored()).into_bytes()])?;
    assert_eq!(keyring.fingerprints(), [a.fingerprint(), b.fingerprint(), c.fingerprint()]);
    Ok(())
}

#[tokio::test]
async fn the_error_of_an_archive_names_file_and_key() -> anyhow::Result<()> {
    let mut world = World::new(&full_archive())?;
    world.keyring = keyring(&[&TestKey::new(9)])?;
    let (mirror, signer) = (world.mirror(), world.key.fingerprint());
    assert_eq!(
        world.failure().await,
        format!(
            "verifying {mirror}dists/trixie/InRelease: it is signed only by keys that are not trusted here: {signer}"
        )
    );
    world.nothing_is_published();
    Ok(())
}
