//! What vouches for an install tree: a signed list of images, or the certificate of the distributor's server.

use anyhow::{Context, ensure};
use url::Url;

use super::{checksum, mirrors::PATIENCE, tree::InstallTree, treeinfo::Treeinfo};
use crate::{
    distro::{
        Checksum,
        address::{below, shown},
    },
    fetch::{
        archive::{Listing, Outdated},
        digest::{self, Expected},
        download::{DownloadError, ask},
        level::Level,
        openpgp::Signed,
    },
    model::{Hinted, Trust},
};

/// A list of images, a `.treeinfo`: some 2 kB.
const LIST_LIMIT: usize = 1 << 20;

/// What vouches for a tree, and how.
#[derive(Debug)]
pub struct Basis {
    /// The file that lists what the tree has.
    pub listing: Listing,
    /// What it says.
    pub grounds: Grounds,
}

/// What is known of the tree's files.
#[derive(Debug)]
pub enum Grounds {
    /// The image that holds all of them.
    Signed {
        /// What the image has to be.
        iso: Expected,
        /// Its name in the list.
        name: String,
        /// The list.
        signed: Signed,
    },
    /// What `.treeinfo` lists.
    Listed(Treeinfo),
}

impl Basis {
    /// The signed list, where there is one.
    pub fn signed(&self) -> Option<&Signed> {
        match &self.grounds {
            Grounds::Signed { signed, .. } => Some(signed),
            Grounds::Listed(_) => None,
        }
    }
}

impl InstallTree<'_> {
    /// The strictest basis that there is, or the one that the operator demands.
    ///
    /// SECURITY: only the distributor's own word over TLS, that of a directory which the operator named (or none of its data) makes the strictest one the weaker one. A list
    /// that cannot be fetched, or that does not verify, is an error.
    pub(super) async fn find_basis(&self) -> anyhow::Result<Basis> {
        let (distro, version) = (&self.release.distro.name, &self.release.version);
        match (self.trust, &self.release.checksum) {
            (Some(Trust::Https), _) | (None, None) => self.listed().await,
            (Some(Trust::Signed), None) => {
                let what = format!("nothing that is signed is known of the boot files of {distro} {version}");
                Err(Hinted::new(what, self.weaker()).into())
            }
            (trust, Some(list)) => match self.signed(list, trust).await? {
                Some(basis) => Ok(basis),
                None => {
                    let master = self.master();
                    (self.say)(&format!(
                        "{} has no signed list of the images of {distro} {version}: {}",
                        shown(master),
                        Level::of_server(master)
                    ));
                    self.listed().await
                }
            },
        }
    }

    /// The signed list and the image that it names; `None` when the distributor says that there is no list, and need not be.
    async fn signed(&self, list: &Checksum, trust: Option<Trust>) -> anyhow::Result<Option<Basis>> {
        let (master, archive) = (self.master(), &self.release.archive().url);
        // It is signed, so that it may come from anywhere: from a server where a directory lacks it and it is demanded.
        let other = if master == archive { self.own() } else { archive };
        let mut failure: Option<DownloadError> = None;
        for root in [master, other] {
            match self.read_list(root, list).await {
                Ok((url, signed)) => {
                    let signed = signed.with_context(|| format!("verifying {}", shown(&url)))?;
                    return self.image(list, &url, signed).await.map(Some);
                }
                Err(DownloadError::Gone { .. })
                    if trust.is_none() && root == master && matches!(root.scheme(), "https" | "file") =>
                {
                    return Ok(None);
                }
                // A server that cannot be reached says less than one that does not have it.
                Err(error @ DownloadError::Unreachable { .. }) => failure = Some(error),
                Err(error @ DownloadError::Gone { .. }) => drop(failure.get_or_insert(error)),
                Err(error) => return Err(error.into()),
            }
            if master == other {
                break;
            }
        }
        let failure = failure.context("no server was asked for the signed list")?;
        let gone = matches!(failure, DownloadError::Gone { .. });
        let error = anyhow::Error::from(failure).context("reading the signed list of the images");
        Err(if gone {
            error.context(Hinted::new("the boot files cannot be verified by signature", self.weaker()))
        } else {
            error
        })
    }

    /// What is left where there is no signature.
    fn weaker(&self) -> &'static str {
        match self.release.archive().is_local() {
            true => "--trust https takes the boot files by the word of the directory that you named",
            false => "--trust https takes the boot files by the word of the distributor's web server",
        }
    }

    async fn read_list(
        &self,
        root: &Url,
        list: &Checksum,
    ) -> Result<(Url, Result<Signed, crate::fetch::SignatureError>), DownloadError> {
        let url = below(root, &list.file);
        let text = ask(self.client, &url, LIST_LIMIT, PATIENCE).await?;
        let signed = match &list.signature {
            None => self.keyring.verify_cleartext(&text, self.now),
            Some(signature) => {
                let signature = ask(self.client, &below(root, signature), LIST_LIMIT, PATIENCE).await?;
                self.keyring.verify_detached(&text, &signature, self.now)
            }
        };
        Ok((url, signed))
    }

    async fn image(&self, list: &Checksum, url: &Url, signed: Signed) -> anyhow::Result<Basis> {
        // Another signer has other lists; their dates say nothing about this one's.
        let known = self.known.get(&list.file).filter(|known| known.signer == signed.signer);
        if let Some(known) = known.map(|known| known.date).filter(|&known| known > signed.signed_at) {
            let (what, mirror) = ("the signed list of the images".to_owned(), url.clone());
            return Err(Outdated { what, mirror, offered: signed.signed_at, known }.into());
        }
        let name = &list.iso;
        let iso = checksum::find(&signed.text, name).with_context(|| format!("{} does not list {name}", shown(url)))?;
        match self.compare_treeinfo(iso, name, url).await {
            // It was chosen for the operator, others stand in for it, and whatever they deliver is compared with what was signed.
            Err(error) if !self.release.archive().alternates.is_empty() => {
                (self.say)(&format!("{error:#}: other mirrors stand in for it"))
            }
            compared => compared?,
        }
        let index_sha256 = digest::of_bytes(signed.text.as_bytes());
        let grounds = Grounds::Signed { iso, name: name.clone(), signed };
        Ok(Basis { listing: Listing { index_sha256, level: Level::Signed }, grounds })
    }

    /// The installer will read the mirror's tree; if that is not the one of the image, it will not fit the kernel.
    async fn compare_treeinfo(&self, iso: Expected, name: &str, list: &Url) -> anyhow::Result<()> {
        let url = self.in_tree(&self.release.archive().url, ".treeinfo");
        let treeinfo = match ask(self.client, &url, LIST_LIMIT, PATIENCE).await {
            Ok(bytes) => Treeinfo::parse(&String::from_utf8_lossy(&bytes)),
            Err(DownloadError::Gone { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let Some(says) = treeinfo.file("images/boot.iso").filter(|&says| says != iso.sha256) else { return Ok(()) };
        let what = format!(
            "{} has {says} as the SHA-256 of images/boot.iso, but {}, which is signed, has {} as that of {name}",
            shown(&url),
            shown(list),
            iso.sha256
        );
        Err(Hinted::new(what, "the mirror is out of step: take another one (--mirror), or try again later").into())
    }

    async fn listed(&self) -> anyhow::Result<Basis> {
        let url = self.in_tree(self.master(), ".treeinfo");
        let bytes = ask(self.client, &url, LIST_LIMIT, PATIENCE).await?;
        let treeinfo = Treeinfo::parse(&String::from_utf8_lossy(&bytes));
        ensure!(!treeinfo.is_empty(), "{} lists no file with a SHA-256 digest", shown(&url));
        let listing = Listing { index_sha256: digest::of_bytes(&bytes), level: Level::of_server(&url) };
        Ok(Basis { listing, grounds: Grounds::Listed(treeinfo) })
    }
}
