//! Checkpoints from the Hugging Face hub, in the cache that Python's `huggingface_hub` keeps.
//!
//! The cache has `blobs` by checksum, `snapshots` of links by commit, and `refs` from branches to
//! commits (`layout`). The `hf-hub` crate is not used: it reads fewer of the environment's
//! variables, compares no checksums, and its downloads begin anew where one stopped.
//!
//! [`settings`] is what the environment says, [`client`] makes requests, [`refusal`] knows
//! what the hub's refusals mean, [`transfer`] brings one file into the cache, and [`snapshot`] the
//! files of one commit.

mod client;
mod error;
mod layout;
mod refusal;
mod settings;
mod snapshot;
mod transfer;

pub use error::HubError;
pub use settings::HubSettings;
pub use snapshot::{Snapshot, cached, cached_folder, listed_names};

/// A repository on the hub, and which state of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubId {
    /// `owner/name`.
    pub name: String,
    /// A branch, a tag, or a commit; `main` where none is given.
    pub revision: String,
}

impl HubId {
    /// Reads `owner/name` or `owner/name@revision`; `None` where the text is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (owner, repository) = name.split_once('/')?;
        let id = Self {
            name: name.into(),
            revision: revision.into(),
        };
        (is_name(owner) && is_name(repository) && is_revision(revision)).then_some(id)
    }

    /// Whether the revision is a whole commit, which never changes; git writes it in lower case.
    pub fn is_commit(&self) -> bool {
        self.revision.len() == 40
            && self
                .revision
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

impl std::fmt::Display for HubId {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.name)?;
        if self.revision != "main" {
            write!(f, "@{}", self.revision)?;
        }
        Ok(())
    }
}

/// The hub's rule for owners and repositories (`validate_repo_id`).
fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=96).contains(&name.len())
        && name.chars().all(allowed)
        && !name.contains("--")
        && !name.contains("..")
        && !name.starts_with(['-', '.'])
        && !name.ends_with(['-', '.'])
}

/// A revision becomes a path in the cache and a part of an address: no way out of either.
fn is_revision(revision: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+');
    !revision.is_empty()
        && revision.chars().all(allowed)
        && revision
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_an_owner_a_name_and_perhaps_a_revision() {
        let id = HubId::parse("Salesforce/blip2-opt-2.7b").expect("it is an id");
        assert_eq!(
            (id.name.as_str(), id.revision.as_str()),
            ("Salesforce/blip2-opt-2.7b", "main")
        );
        let id = HubId::parse("a/b@refs/pr/3").expect("it is an id");
        assert_eq!((id.name.as_str(), id.revision.as_str()), ("a/b", "refs/pr/3"));
        assert_eq!(id.to_string(), "a/b@refs/pr/3");
    }

    #[test]
    fn what_could_lead_out_of_the_cache_is_no_id() {
        for wrong in [
            "", "name", "./a", "../a", "/a/b", "a/b/c", "a/..", "a/b@", "a/b@../x", "a/b@/x", "a/b@x//y", "a b/c",
            "~/a", "a/b@x y", "a--b/c", ".a/b", "a/b?c", "a/b@x?y",
        ] {
            assert_eq!(HubId::parse(wrong), None, "{wrong}");
        }
    }
}
