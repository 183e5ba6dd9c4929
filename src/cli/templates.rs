use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use anyhow::Context;

use super::console::Console;
use crate::{distro::Catalogue, model::Hinted};

/// `provisioner templates export`: writes what is compiled in to `folder`.
///
/// Nothing is overwritten: somebody's changes may be in it.
pub fn export(folder: &Path, console: &Console) -> anyhow::Result<()> {
    let (mut missing, mut changed) = (Vec::new(), Vec::new());
    for (path, bytes) in Catalogue::embedded_files() {
        let place = folder.join(path);
        // What cannot be read is there all the same.
        if place.symlink_metadata().is_err() {
            missing.push((place, bytes));
        } else if fs::read(&place).map_or(true, |present| present != bytes) {
            changed.push(path);
        }
    }
    if !changed.is_empty() {
        let what = format!("not overwriting what differs in {}: {}", folder.display(), changed.join(", "));
        return Err(Hinted::new(what, "export to an empty directory, and compare").into());
    }
    for (place, bytes) in &missing {
        let parent = place.parent().unwrap_or(folder);
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        let written = File::create_new(place).and_then(|mut file| file.write_all(bytes));
        written.with_context(|| format!("writing {}", place.display()))?;
    }
    let folder = folder.display();
    console.say(&format!(
        "{} files written to {folder}: change what you need, remove the rest, and try it with \
         `provisioner render answers --templates {folder}`",
        missing.len()
    ));
    Ok(())
}
