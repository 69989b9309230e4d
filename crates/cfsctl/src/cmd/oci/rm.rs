//! `cfsctl oci rm`

use std::io::Write as _;

use anyhow::bail;
use clap::Args;
use clap_complete::ArgValueCompleter;
use composefs_oci::{
    stored::tags,
    usage::{RepositoryUsage, measure},
};
use serde::Serialize;

use crate::{
    app::App,
    cmd::du::Sum,
    complete,
    ui::{self, error::Usage, size::human},
};

/// Drop tags and say what gc would free
///
/// All of them go or none does. What they lead to stays until the next gc, and so long it may be tagged again.
///
/// Example: cfsctl oci rm --dry-run debian:11 debian:12
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// A tag, or the digest of a manifest for the tag it has (can be repeated)
    #[arg(required = true, value_name = "NAME", add = ArgValueCompleter::new(complete::tags))]
    names: Vec<String>,
    /// Drop all tags of a manifest that is given by its digest
    #[arg(long)]
    all: bool,
    /// Show which tags would go and what gc would free, and drop none
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    dry_run: bool,
    tags: &'a [String],
    /// What gc would free because of it; none if nobody knows.
    freed: Option<Sum>,
    /// What gc would free anyway.
    garbage: Option<Sum>,
    gc_is_held_back: bool,
}

impl Rm {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let writer = if self.dry_run { None } else { Some(app.writer()?) };
        let repo = match &writer {
            Some(writer) => writer.repository().clone(),
            None => app.repository()?,
        };
        let mut tags = Vec::new();
        for name in &self.names {
            let found = tags::named(&repo, name)?;
            if found.len() > 1 && !self.all {
                bail!(Usage(format!(
                    "{name} has the tags {}; name those to drop, or say --all",
                    found.join(", ")
                )));
            }
            tags.extend(found.into_iter().filter(|tag| !tags.contains(tag)).collect::<Vec<_>>());
        }
        // Looked at before, since nobody knows afterwards what was theirs.
        let usage = match measure(&repo) {
            Ok(usage) => Some(usage),
            Err(error) => {
                ui::say!("warning: {}", composefs::error::chain(&error));
                None
            }
        };
        if let Some(writer) = &writer {
            tags::remove_all(writer, &tags)?;
        }
        for problem in usage.iter().flat_map(RepositoryUsage::problems) {
            ui::say!("warning: {problem}");
        }
        match self.json {
            true => ui::json::print(&Document {
                version: 1,
                dry_run: self.dry_run,
                tags: &tags,
                freed: usage.as_ref().map(|usage| usage.freed_without(&tags).into()),
                garbage: usage.as_ref().map(|usage| usage.totals().garbage.into()),
                gc_is_held_back: usage.as_ref().is_none_or(|usage| usage.is_held_back_without(&tags)),
            }),
            false => self.print(&tags, usage.as_ref()),
        }
    }

    fn print(&self, tags: &[String], usage: Option<&RepositoryUsage>) -> anyhow::Result<()> {
        let mut out = ui::out();
        for tag in tags {
            match self.dry_run {
                true => writeln!(out, "Would remove tag {}", ui::path::name(tag))?,
                false => writeln!(out, "Removed tag {}", ui::path::name(tag))?,
            }
        }
        let Some(usage) = usage else { return Ok(()) };
        let (freed, totals) = (usage.freed_without(tags), usage.totals());
        let objects = |count| if count == 1 { "1 object".to_owned() } else { format!("{count} objects") };
        if usage.is_held_back_without(tags) {
            writeln!(out, "gc would free nothing, since something that is needed cannot be read")?;
            return Ok(());
        }
        match freed.objects {
            0 => writeln!(out, "gc would free nothing because of it")?,
            count => {
                writeln!(out, "gc would free {}, {}, because of it", objects(count), human(freed.bytes))?;
            }
        }
        if totals.garbage.objects > 0 {
            let (count, bytes) = (totals.garbage.objects, totals.garbage.bytes);
            writeln!(out, "  and {}, {}, that nothing needed before", objects(count), human(bytes))?;
        }
        Ok(())
    }
}
