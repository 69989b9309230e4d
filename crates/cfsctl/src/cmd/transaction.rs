//! `cfsctl transaction`

use clap::Args;

use crate::app::App;

/// Hold off garbage collection until killed
///
/// Takes the repository's shared lock and waits.
#[derive(Debug, Args)]
pub(crate) struct Transaction {}

impl Transaction {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let _locked = app.repository()?;
        loop {
            std::thread::park();
        }
    }
}
