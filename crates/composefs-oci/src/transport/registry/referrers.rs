//! Lists that a registry gives in pages: tags, and what refers to a manifest.
//!
//! # Format
//! OCI distribution-spec, listing tags and referrers; `docs/formats/transports.md`, section 2.

use oci_spec::image::{Descriptor, ImageIndex};
use reqwest::{
    Url,
    header::{ACCEPT, HeaderValue, LINK},
};

use crate::{
    digest::Digest,
    error::Error,
    model::{media_type, parse_index},
    transport::artifacts::tag_of,
};

use super::{
    client::{Client, Request},
    fault::{Asked, Failure},
    header::next_page,
    pull::{self, Whole},
    retry::RetryOptions,
};

/// The most pages of a list.
const PAGES_MAX: usize = 1000;
/// The most entries of a list.
const ENTRIES_MAX: usize = 1 << 20;
/// How many tags of a page are asked for.
const TAGS_ASKED: usize = 1000;
/// What says by which fields a registry has chosen.
const FILTERS_APPLIED: &str = "OCI-Filters-Applied";

/// Lists all tags of the repository.
///
/// # Errors
/// [`Error::Registry`], also for lists without end.
pub(super) async fn tags(client: &Client, retries: &RetryOptions) -> Result<Vec<String>, Error> {
    #[derive(serde::Deserialize)]
    struct Page {
        tags: Option<Vec<String>>,
    }
    let mut tags = Vec::new();
    let first = format!("tags/list?n={TAGS_ASKED}");
    pages(client, Asked::Tags, first, retries, |page| {
        let parsed: Page = serde_json::from_slice(&page.body).map_err(|_| "its list of tags is none")?;
        tags.extend(parsed.tags.unwrap_or_default());
        if tags.len() > ENTRIES_MAX { Err("its list of tags has no end") } else { Ok(()) }
    })
    .await?;
    Ok(tags)
}

/// Lists what refers to a manifest, of one artifact type if that is given.
///
/// A registry without the interface for it is asked for the tag that stands for the digest.
///
/// # Errors
/// [`Error::Registry`], also for lists without end; [`Error::Model`] for a list that is no index.
pub(super) async fn referrers(
    client: &Client,
    digest: &Digest,
    artifact_type: Option<&str>,
    retries: &RetryOptions,
) -> Result<Vec<Descriptor>, Error> {
    let asked = Asked::Referrers(digest.to_string());
    let mut first = format!("referrers/{digest}");
    if let Some(artifact_type) = artifact_type {
        first.push_str("?artifactType=");
        first.extend(percent_encoded(artifact_type));
    }
    let wanted = |entry: &Descriptor| {
        let kind = entry.artifact_type().as_ref().map(ToString::to_string);
        artifact_type.is_none_or(|wanted| kind.as_deref() == Some(wanted))
    };
    let mut found = Vec::new();
    let listed = pages(client, asked, first, retries, |page| {
        let index = parse_index(&page.body).map_err(|_| "its list of referrers is no index")?;
        found.extend(index.manifests().iter().filter(|entry| page.filtered || wanted(entry)).cloned());
        if found.len() > ENTRIES_MAX { Err("its list of referrers has no end") } else { Ok(()) }
    });
    match listed.await {
        Err(Error::Registry(error)) if error.is_absent() => {}
        Err(error) => return Err(error),
        Ok(()) => return Ok(found),
    }
    let index = match pull::manifest(client, &tag_of(digest), retries).await {
        Err(Error::Registry(error)) if error.is_absent() => return Ok(Vec::new()),
        Err(error) => return Err(error),
        Ok(root) if !media_type::is_index(&root.media_type) => return Ok(Vec::new()),
        Ok(root) => parse_index(&root.bytes).map_err(|source| Error::model(&root.digest, source))?,
    };
    Ok(ImageIndex::manifests(&index).iter().filter(|entry| wanted(entry)).cloned().collect())
}

/// One page of a list.
struct Page {
    body: Vec<u8>,
    /// The registry has left out what was not asked for.
    filtered: bool,
}

/// Walks over a list's pages; what `take` says is wrong with one ends the walk.
async fn pages(
    client: &Client,
    asked: Asked,
    first: String,
    retries: &RetryOptions,
    mut take: impl FnMut(&Page) -> Result<(), &'static str>,
) -> Result<(), Error> {
    let mut next = Some(first);
    for _ in 0..PAGES_MAX {
        let Some(path) = next else { return Ok(()) };
        let request = Request::get(asked.clone(), path)
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .header(ACCEPT, HeaderValue::from_static(media_type::OCI_INDEX));
        let (page, link) = page(client, &request, retries).await?;
        take(&page).map_err(|reason| client.senseless(&asked, reason))?;
        next = link
            .map(|link| {
                client.path_of(&link).ok_or_else(|| client.senseless(&asked, "it continues a list elsewhere"))
            })
            .transpose()?;
    }
    Err(client.senseless(&asked, "its list has too many pages").into())
}

async fn page(
    client: &Client,
    request: &Request,
    retries: &RetryOptions,
) -> Result<(Page, Option<Url>), Failure> {
    let Whole { body, headers, url, home } = pull::whole(client, request, retries).await?;
    let applied = headers.get(FILTERS_APPLIED).and_then(|value| value.to_str().ok());
    let filtered = applied.is_some_and(|fields| {
        fields.split(',').any(|field| field.trim().eq_ignore_ascii_case("artifactType"))
    });
    let next = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(next_page);
    // Who stands elsewhere does not say where we go with what proves who we are.
    if next.is_some() && !home {
        return Err(client.senseless(&request.asked, "it continues a list elsewhere"));
    }
    Ok((Page { body, filtered }, next.and_then(|next| url.join(next).ok())))
}

/// Writes a value for a query.
fn percent_encoded(value: &str) -> impl Iterator<Item = String> {
    value.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    })
}
