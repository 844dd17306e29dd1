//! `cargo xtask check`: the checks beside the tests.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use xtask::{Workspace, run};

use crate::circles;
use crate::explain_without_options;
use crate::venv::{self, Tools};

/// The region whose rules the template is checked by.
const LINT_REGION: &str = "us-east-1";

const HELP: &str = "Checks circles of modules, formatting, lints, dependencies and the template. It has no options.";

/// Checks the modules for circles, the formatting, the lints, the dependencies, and the template.
pub(crate) fn check(arguments: &[OsString]) -> Result<()> {
    if let Some(argument) = arguments.get(1) {
        return explain_without_options("check", argument, HELP);
    }
    let workspace = &Workspace::find()?;
    circles::check(workspace.root())?;
    run(
        "cargo fmt --check",
        &mut workspace.cargo_command(&["fmt", "--all", "--check"]),
    )?;
    let clippy = [
        "clippy",
        "--locked",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    venv::ensure_during(workspace, &[Tools::Stack, Tools::Checks], || {
        run("cargo clippy", &mut workspace.cargo_command(&clippy))
    })?;
    check_dependencies(workspace)?;
    check_credential_providers(workspace)?;
    check_template(workspace)?;
    println!("✓ everything is clean");
    Ok(())
}

/// Checks the dependencies' licences, sources and duplicates; and their known vulnerabilities, if
/// the database of these can be fetched from GitHub, or was before.
fn check_dependencies(workspace: &Workspace) -> Result<()> {
    let deny = |arguments: &[&str]| {
        let mut command = check_command(workspace, "cargo-deny");
        command.arg("--locked").args(arguments);
        command
    };
    run(
        "cargo-deny",
        &mut deny(&["check", "bans", "licenses", "sources"]),
    )?;
    let fetched = deny(&["fetch", "db"]).stderr(Stdio::null()).status()?;
    if fetched.success() {
        return run("cargo-deny", &mut deny(&["check", "advisories"]));
    }
    eprintln!("! The database of vulnerabilities cannot be fetched");
    if has_advisories() {
        return run(
            "cargo-deny",
            &mut deny(&["--offline", "check", "advisories"]),
        );
    }
    eprintln!("! Vulnerabilities are not checked");
    Ok(())
}

/// The crates that read the credentials of people: of SSO and of `aws login`.
const CREDENTIAL_PROVIDERS: [&str; 3] = ["aws-sdk-sso", "aws-sdk-ssooidc", "aws-sdk-signin"];

/// Checks that the administration command accepts every kind of AWS profile, and that no function has
/// the crates for it: a function has the role that Lambda gives it, and starts faster without them.
fn check_credential_providers(workspace: &Workspace) -> Result<()> {
    let functions = workspace.function_names()?;
    for (packages, wanted) in [(vec!["bematic-admin".to_owned()], true), (functions, false)] {
        let mut tree = workspace.cargo_command(&["tree", "--locked", "--edges", "normal"]);
        for package in &packages {
            tree.args(["--package", package]);
        }
        let output = tree.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            bail!("cargo tree failed ({})", output.status);
        }
        let text = String::from_utf8_lossy(&output.stdout);
        for provider in CREDENTIAL_PROVIDERS {
            let is_there = text.contains(&format!("{provider} v"));
            if is_there != wanted {
                let has = if is_there { "has" } else { "lacks" };
                bail!("one of {} {has} the crate {provider}", packages.join(", "));
            }
        }
    }
    Ok(())
}

/// Whether cargo-deny has fetched the database of vulnerabilities before.
fn has_advisories() -> bool {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo")));
    let copies = home.and_then(|home| fs::read_dir(home.join("advisory-dbs")).ok());
    copies
        .into_iter()
        .flatten()
        .flatten()
        .any(|it| it.path().is_dir())
}

/// Checks the template as SAM reads it, and by the rules of cfn-lint, of its serverless rules, and
/// of checkov. What these find is repaired, or suppressed in the template with the reason beside
/// it.
fn check_template(workspace: &Workspace) -> Result<()> {
    run(
        "sam validate",
        &mut workspace.sam_command(&["validate", "--lint", "--region", LINT_REGION]),
    )?;
    let mut lint = check_command(workspace, "cfn-lint");
    lint.args(["--append-rules", "cfn_lint_serverless.rules"])
        .args(["--regions", LINT_REGION, "--", "template.yaml"]);
    run("cfn-lint", &mut lint)?;
    let mut checkov = check_command(workspace, "checkov");
    // The download would be the vendor's own policies and texts.
    checkov
        .args(["--file", "template.yaml", "--framework", "cloudformation"])
        .args(["--compact", "--quiet", "--skip-download"]);
    run("checkov", &mut checkov)
}

/// A linter of the environment for checks, in the checkout.
fn check_command(workspace: &Workspace, name: &str) -> Command {
    let mut command = Command::new(workspace.check_venv_dir().join("bin").join(name));
    command.current_dir(workspace.root());
    command
}
