//! The passphrase of the new machines' disks: asked for, or made.

use std::{fs::File, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::Context;
use jiff::Timestamp;

use super::console::Console;
use crate::{
    model::{Encryption, Hinted, Passphrase},
    plan::Plan,
    random,
};

const PROMPT: &str = "[provisioner] disk passphrase (empty: one is made): ";
const PROMPT_AGAIN: &str = "[provisioner] disk passphrase again: ";

/// Letters that are on the same keys of QWERTY, QWERTZ and AZERTY keyboards, since the prompt at boot may have another layout
/// than the label on the keys says, and that look like no other letter. As systemd-cryptenroll(1) does for recovery keys.
const LETTERS: &[u8; 17] = b"bcdefghjknprstuvx";

/// Groups of four letters: 32 letters of 17 are 130 bits.
const GROUPS: usize = 8;

/// What stands for a passphrase where nothing is installed with it.
const PLACEHOLDER: &str = "THE-PASSPHRASE-GOES-HERE";

/// Where recovery keys that were made here are kept.
const RECOVERY_KEYS: &str = "recovery-keys";

/// Asks for the passphrase on the terminal, unless it is known or nothing is encrypted. One that is made is shown on standard
/// output, once, and with a TPM, where nobody types it for years, kept in the prefix too.
pub fn ask(plan: &mut Plan, console: &Console) -> anyhow::Result<()> {
    let Some(encryption @ Encryption { passphrase: None, .. }) = &mut plan.recipe.encryption else { return Ok(()) };
    if let Some(typed) = prompt(console)? {
        encryption.passphrase = Some(typed);
        return Ok(());
    }
    let made = make()?;
    if encryption.tpm2 {
        let file = plan.prefix.join(RECOVERY_KEYS);
        keep(&file, Timestamp::now(), plan.release.uid(), &made)
            .with_context(|| format!("writing {}", file.display()))?;
        console.secret("recovery key of the disks", made.expose());
        console.say(&format!("write it down; it is kept in {} too", file.display()));
    } else {
        console.secret("disk passphrase", made.expose());
        console.say("write it down: it is shown only now, and nothing else opens the disks");
    }
    encryption.passphrase = Some(made);
    Ok(())
}

/// Puts something that is obviously no passphrase in its place; whether it did.
pub fn stand_in(plan: &mut Plan) -> anyhow::Result<bool> {
    match &mut plan.recipe.encryption {
        Some(Encryption { passphrase: missing @ None, .. }) => {
            *missing = Some(Passphrase::try_from(PLACEHOLDER.to_owned())?);
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// `None`: one shall be made. It is typed twice: a mistake in it would close the disk for ever.
fn prompt(console: &Console) -> Result<Option<Passphrase>, Hinted> {
    let read = |prompt: &str| {
        rpassword::prompt_password(prompt).map_err(|error| {
            Hinted::new(
                format!("asking for the disk passphrase of the new machine: {error}"),
                "without a terminal, give it in a file with --luks-passphrase-file",
            )
        })
    };
    loop {
        let typed = read(PROMPT)?;
        if typed.is_empty() {
            return Ok(None);
        }
        match Passphrase::try_from(typed) {
            Err(error) => console.say(&format!("that is not {}", error.expected)),
            Ok(typed) if read(PROMPT_AGAIN)? == typed.expose() => return Ok(Some(typed)),
            Ok(_) => console.say("the two are not the same"),
        }
    }
}

fn make() -> anyhow::Result<Passphrase> {
    let mut letters = Vec::with_capacity(4 * GROUPS);
    while letters.len() < 4 * GROUPS {
        let bytes: [u8; 4 * GROUPS] = random::bytes()?;
        // 255 is 15 × 17: with it the first letter would be likelier than the others.
        let fair = bytes.iter().filter(|byte| **byte < u8::MAX);
        letters.extend(fair.map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])));
    }
    let groups: Vec<String> = letters.chunks(4).take(GROUPS).map(|group| group.iter().collect()).collect();
    Ok(Passphrase::try_from(groups.join("-"))?)
}

fn keep(file: &Path, now: Timestamp, uid: &str, key: &Passphrase) -> anyhow::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = File::options().create(true).append(true).mode(0o600).open(file)?;
    writeln!(file, "{} {uid} {}", now.strftime("%Y-%m-%dT%H:%M:%SZ"), key.expose())?;
    Ok(file.sync_all()?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::plan::tests::plan;

    #[test]
    fn what_is_made_can_be_typed_on_any_keyboard_and_is_never_the_same() {
        let (one, two) = (make().expect("a passphrase"), make().expect("another"));
        assert_ne!(one, two);
        assert_eq!(one.expose().split('-').map(str::len).collect::<Vec<_>>(), [4; 8]);
        assert!(one.expose().bytes().all(|b| b == b'-' || LETTERS.contains(&b)), "{}", one.expose());
    }

    #[test]
    fn recovery_keys_are_appended_for_the_operator_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("new").join(RECOVERY_KEYS);
        for key in ["first-key", "second-key"] {
            let key = Passphrase::try_from(key.to_owned()).expect("a passphrase");
            keep(&file, Timestamp::UNIX_EPOCH, "fedora44-x86_64", &key).expect("kept");
        }
        let expected =
            "1970-01-01T00:00:00Z fedora44-x86_64 first-key\n1970-01-01T00:00:00Z fedora44-x86_64 second-key\n";
        assert_eq!(std::fs::read_to_string(&file).expect("the file"), expected);
        assert_eq!(file.metadata().expect("the file").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn only_a_missing_passphrase_is_stood_in_for() {
        let mut plan = plan();
        assert!(!stand_in(&mut plan).expect("nothing is encrypted"));
        plan.recipe.encryption = Some(Encryption { passphrase: None, tpm2: false });
        assert!(stand_in(&mut plan).expect("a placeholder"));
        assert!(!stand_in(&mut plan).expect("it has one now"));
    }
}
