//! Paths and symbolic links inside a package. Pure.

use std::collections::HashMap;

use anyhow::{Context, ensure};

/// Links followed for one file, as the kernel's limit.
const HOPS_LIMIT: usize = 40;

/// `./usr/lib/` → `usr/lib`.
pub fn plain(path: &str) -> String {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/")
}

/// Where `path` leads, with every symbolic link on the way followed inside the package.
pub fn follow(path: &str, links: &HashMap<String, String>) -> anyhow::Result<String> {
    let mut ahead: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let (mut behind, mut hops) = (Vec::new(), 0);
    while let Some(part) = ahead.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                behind.pop().with_context(|| format!("{path} is a link that leads out of the package"))?;
                continue;
            }
            _ => behind.push(part),
        }
        if let Some(target) = links.get(&behind.join("/")) {
            hops += 1;
            ensure!(hops <= HOPS_LIMIT, "{path} is a link that leads round in a circle");
            behind.pop();
            if target.starts_with('/') {
                behind.clear();
            }
            ahead.extend(target.split('/').rev().map(str::to_owned));
        }
    }
    Ok(behind.join("/"))
}
