use std::path::Path;

use anyhow::Context;

use crate::{
    model::{Hinted, InstallRecipe, Passphrase, PasswordHash},
    plan::hash_password,
};

/// Asks for the password of the new machine's accounts on the terminal, unless it is known or none has one, and keeps only its
/// hash.
///
/// An empty password locks the accounts, which is only of use to somebody who brought an SSH key.
pub fn ask(recipe: &mut InstallRecipe) -> anyhow::Result<()> {
    let Some(prompt_text) = prompt_text(recipe).filter(|_| recipe.password.is_none()) else { return Ok(()) };
    let password = prompt(&prompt_text)?;
    if !password.is_empty() {
        recipe.password = Some(hash_password(&password)?);
        return Ok(());
    }
    if recipe.ssh_keys.is_empty() {
        let what = "with no password and no SSH key nobody could log in to the new machine";
        return Err(Hinted::new(what, "type a password, or give a key with --ssh-key").into());
    }
    Ok(())
}

/// Says whose password it is when that is not plain; `None` when no account has one.
fn prompt_text(recipe: &InstallRecipe) -> Option<String> {
    Some(match (&recipe.user, recipe.lock_root) {
        (None, false) => "[provisioner] password: ".to_owned(),
        (Some(user), false) => format!("[provisioner] password of {user} and root: "),
        (Some(user), true) => format!("[provisioner] password of {user}: "),
        (None, true) => return None,
    })
}

/// Reads a line from the terminal without showing it. Nothing runs yet that this could hold up, and no signal is listened for
/// yet: on `^C` rpassword puts the terminal back and raises it again, which ends the program.
fn prompt(text: &str) -> Result<String, Hinted> {
    rpassword::prompt_password(text).map_err(|error| {
        Hinted::new(
            format!("asking for the password of the new machine: {error}"),
            "without a terminal, give its hash with --password or the password in a file with --password-file",
        )
    })
}

/// Reads `--password-file`: its first line is the password.
pub fn read(path: &Path) -> Result<PasswordHash, Hinted> {
    let read = || -> anyhow::Result<PasswordHash> {
        let text = std::fs::read_to_string(path).context("reading it")?;
        let password = text.lines().next().unwrap_or_default();
        anyhow::ensure!(!password.is_empty(), "its first line is empty");
        hash_password(password)
    };
    read().map_err(|error| {
        Hinted::new(
            format!("--password-file {}: {error:#}", path.display()),
            "give a file that can be read; its first line is the password of the new machine",
        )
    })
}

/// Reads `--luks-passphrase-file`: its first line is the passphrase.
pub fn read_passphrase(path: &Path) -> Result<Passphrase, Hinted> {
    let read = || -> anyhow::Result<Passphrase> {
        let text = std::fs::read_to_string(path).context("reading it")?;
        Ok(Passphrase::try_from(text.lines().next().unwrap_or_default().to_owned())?)
    };
    read().map_err(|error| {
        let what = format!("--luks-passphrase-file {}: {error:#}", path.display());
        Hinted::new(what, "give a file that can be read; its first line is the passphrase of the new disk")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_says_whose_password_it_is() {
        let prompt = |user: Option<&str>, lock_root| {
            prompt_text(&InstallRecipe { user: user.map(str::to_owned), lock_root, ..InstallRecipe::default() })
        };
        assert_eq!(prompt(None, false).as_deref(), Some("[provisioner] password: "));
        assert_eq!(prompt(Some("ada"), false).as_deref(), Some("[provisioner] password of ada and root: "));
        assert_eq!(prompt(Some("ada"), true).as_deref(), Some("[provisioner] password of ada: "));
        assert_eq!(prompt(None, true), None);
    }
}
