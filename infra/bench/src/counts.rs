//! The counts alone, of functions that are built already, whatever the profile: what CI asserts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use xtask::Workspace;

use crate::prices::Prices;
use crate::report::{self, TaskRow};
use crate::scenario;
use crate::stage::Stage;
use crate::target::Target;
use crate::targets::counted;
use crate::template::Template;

/// What everything took.
#[derive(Debug, Clone)]
pub struct Counts {
    /// The ordinary task.
    pub task: TaskRow,
    /// The targets that are no times.
    pub targets: Vec<Target>,
}

/// Plays everything once with the functions that the local stack runs.
pub async fn counts(workspace: &Workspace) -> Result<Counts> {
    let functions = workspace.functions()?.into_iter();
    let binaries: BTreeMap<String, PathBuf> = functions
        .map(|name| (name.clone(), workspace.bootstrap(&name)))
        .collect();
    let template = Template::read(workspace)?;
    let mut stage = Stage::new(&template, binaries, workspace.join("target/bench")).await?;
    scenario::warm(&mut stage, 0).await?;
    let (first, logged) = scenario::ordinary(&mut stage).await?;
    let task = report::task(&stage.log()[first..], logged, &Prices::read()?);
    let targets = counted(&stage.log(), &task);
    Ok(Counts { task, targets })
}
