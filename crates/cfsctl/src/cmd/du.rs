//! `cfsctl du`

use std::{io::Write as _, process::ExitCode};

use clap::Args;
use clap_complete::ArgValueCompleter;
use composefs::repo::usage::{Amount, Totals};
use composefs_oci::{
    find::Name,
    usage::{Holder, ImageUsage, RepositoryUsage, measure},
};
use serde::Serialize;

use crate::{
    app::App,
    ui::{self, error::Failed, size::human},
};

/// Show what images and the repository take
///
/// OWN is what gc would free if this image alone lost all its names, SHARED what other images or mounts need, too,
/// APPARENT what its files have together, one with several names once. Bytes are lengths of objects; what these take on
/// the disk stands beside the sums, where blocks that files share are counted for each of them.
///
/// After the tagged images come those with other names and the mounted ones, then what the next gc takes: `untagged`
/// images and `unnamed` EROFS images.
///
/// Example: cfsctl du --json debian:12
#[derive(Debug, Args)]
pub(crate) struct Du {
    /// Only these: a tag, a manifest's digest or another name of an image; default: all
    #[arg(value_name = "NAME", add = ArgValueCompleter::new(crate::complete::tags))]
    names: Vec<Name>,
    /// Print one JSON document, with exact figures
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    version: u32,
    images: Vec<Row>,
    total: Total,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    kind: &'static str,
    names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    own: Sum,
    shared: Sum,
    apparent_bytes: Option<u64>,
    streams: u64,
    images: u64,
    missing_objects: u64,
}

#[derive(Serialize)]
pub(crate) struct Sum {
    objects: u64,
    bytes: u64,
    disk_bytes: u64,
}

impl From<Amount> for Sum {
    fn from(amount: Amount) -> Self {
        Self { objects: amount.objects, bytes: amount.bytes, disk_bytes: amount.disk_bytes }
    }
}

#[derive(Serialize)]
struct Total {
    objects: Sum,
    garbage: Sum,
    spared: Sum,
    gc_is_held_back: bool,
    missing_objects: u64,
    streams: u64,
    images: u64,
    temporaries: u64,
    temporary_bytes: u64,
}

impl Du {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<ExitCode> {
        let usage = measure(&app.repository()?)?;
        let images: Vec<&ImageUsage> = if self.names.is_empty() {
            usage.images().iter().collect()
        } else {
            let find = |name: &Name| {
                usage.image(name).ok_or_else(|| composefs_oci::Error::NotFound(name.to_string()))
            };
            self.names.iter().map(find).collect::<Result<_, _>>()?
        };
        let problems: Vec<String> = usage.problems().into_iter().collect();
        if self.json {
            ui::json::print(&document(&usage, &images, problems.clone()))?;
        } else {
            print(&images, usage.totals())?;
        }
        if problems.is_empty() && usage.totals().missing == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        for problem in &problems {
            ui::say!("warning: {problem}");
        }
        let text = format!(
            "not all could be looked at: problems {}, missing objects {}; what only they need counts for nobody",
            problems.len(),
            usage.totals().missing
        );
        Err(Failed::new(text).hints(["`cfsctl fsck` tells more".to_owned()]).into())
    }
}

const fn kind(holder: &Holder) -> &'static str {
    match holder {
        Holder::Tagged(_) => "tagged",
        Holder::Referrer(_) => "referrer",
        Holder::Image(_) => "image",
        Holder::Mounted(_) => "mounted",
        Holder::Untagged(_) => "untagged",
        Holder::UntaggedIndex(_) => "untagged-index",
        Holder::Unnamed(_) => "unnamed",
        _ => "stream",
    }
}

fn document(usage: &RepositoryUsage, images: &[&ImageUsage], problems: Vec<String>) -> Document {
    let rows = images.iter().map(|image| Row {
        kind: kind(&image.holder),
        names: image.names.clone(),
        manifest: image.holder.manifest().map(ToString::to_string),
        image: match &image.holder {
            Holder::Image(id) | Holder::Mounted(id) | Holder::Unnamed(id) => Some(id.to_hex()),
            _ => None,
        },
        own: image.share.own.into(),
        shared: image.share.shared.into(),
        apparent_bytes: image.apparent_bytes,
        streams: image.share.streams,
        images: image.share.images,
        missing_objects: image.share.missing,
    });
    let totals = usage.totals();
    let total = Total {
        objects: totals.objects.into(),
        garbage: totals.garbage.into(),
        spared: totals.spared.into(),
        gc_is_held_back: totals.is_held_back,
        missing_objects: totals.missing,
        streams: totals.streams,
        images: totals.images,
        temporaries: totals.temporaries,
        temporary_bytes: totals.temporary_bytes,
    };
    Document { version: 1, images: rows.collect(), total, problems }
}

/// What an image is called in the table: its tags, a line each, or what it is.
fn label(image: &ImageUsage) -> String {
    let short = ui::table::short;
    // A line for each.
    let names = || image.names.iter().map(|name| ui::path::name(name)).collect::<Vec<_>>().join("\n");
    match &image.holder {
        Holder::Tagged(_) => names(),
        Holder::Referrer(digest) => format!("referrer {}", short(digest.digest().encoded())),
        Holder::Image(id) if image.names.is_empty() => format!("image {}", short(&id.to_hex())),
        Holder::Image(_) => names(),
        Holder::Mounted(id) => format!("mounted {}", short(&id.to_hex())),
        Holder::Untagged(digest) => format!("untagged {}", short(digest.digest().encoded())),
        Holder::UntaggedIndex(digest) => format!("untagged index {}", short(digest.encoded())),
        Holder::Unnamed(id) => format!("unnamed {}", short(&id.to_hex())),
        Holder::Stream(name) if image.names.is_empty() => ui::path::name(name).into_owned(),
        _ => names(),
    }
}

fn print(images: &[&ImageUsage], totals: &Totals) -> anyhow::Result<()> {
    let mut out = ui::out();
    if !images.is_empty() {
        let header = ["NAME", "OWN", "SHARED", "APPARENT", "OBJECTS", "STREAMS", "IMAGES"];
        let mut table = ui::table::new(&header);
        for image in images {
            let share = &image.share;
            table.add_row([
                label(image),
                human(share.own.bytes),
                human(share.shared.bytes),
                image.apparent_bytes.map_or_else(|| "-".to_owned(), human),
                share.own.objects.saturating_add(share.shared.objects).to_string(),
                share.streams.to_string(),
                share.images.to_string(),
            ]);
        }
        ui::table::align_right(&mut table, 1);
        ui::table::fit(&mut table);
        writeln!(out, "{table}")?;
    }
    let sum = |amount: &Amount| {
        format!("{}, {}, {} on disk", amount.objects, human(amount.bytes), human(amount.disk_bytes))
    };
    writeln!(out, "objects      {}", sum(&totals.objects))?;
    writeln!(out, "streams      {}", totals.streams)?;
    writeln!(out, "images       {}", totals.images)?;
    writeln!(out, "temporaries  {}, {}", totals.temporaries, human(totals.temporary_bytes))?;
    if totals.spared.objects > 0 {
        writeln!(out, "spared       {}, for pulls at work", sum(&totals.spared))?;
    }
    match totals.is_held_back {
        true => writeln!(out, "gc frees     nothing, since something that is needed cannot be read")?,
        false => writeln!(out, "gc frees     {}", sum(&totals.garbage))?,
    }
    Ok(())
}
