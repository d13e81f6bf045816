//! The files under the checks: what git tracks or would track, each with its place in its crate.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A Rust source file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Path from the repository's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// The crate's folder (`agent`), if the file is part of the crate's own code (`src/`).
    pub(crate) fn crate_folder(&self) -> Option<&str> {
        let (folder, rest) = self.path.split_once('/')?;
        rest.starts_with("src/").then_some(folder)
    }

    /// Module path within the crate: `agent/src/link/mod.rs` is `["link"]`, `lib.rs` is `[]`.
    pub(crate) fn module(&self) -> Vec<String> {
        let Some((_, inside)) = self.path.split_once("/src/") else { return Vec::new() };
        let mut parts: Vec<String> = inside.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if parts.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
            parts.pop();
        }
        parts
    }

    /// The first part of the module path; `lib` or `main` for the crate's roots.
    pub(crate) fn top_module(&self) -> String {
        let stem = || self.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
        self.module().into_iter().next().unwrap_or_else(stem)
    }

    /// Whether the file holds tests only: its name or one of its folders says so.
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| matches!(part.trim_end_matches(".rs"), "tests" | "benches" | "fuzz"))
    }

    /// Whether the file is one of `places`, or lies in one of them (folders and files are named without `.rs`).
    pub(crate) fn is_in(&self, places: &[&str]) -> bool {
        let path = self.path.trim_end_matches(".rs");
        places.iter().any(|place| {
            path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

/// Paths that git tracks or would track, from the root, sorted.
pub(crate) fn list(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"])
        .current_dir(root)
        .output()
        .context("could not start git, which lists the files to check: install git")?;
    if !output.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let listing =
        String::from_utf8(output.stdout).context("a path in the repository is not UTF-8: rename it")?;
    let mut paths: Vec<String> = listing
        .split('\0')
        .filter(|path| !path.is_empty() && root.join(path).exists())
        .map(str::to_owned)
        .collect();
    paths.sort();
    Ok(paths)
}

/// Reads the Rust files among `paths`.
pub(crate) fn read(root: &Path, paths: &[String]) -> Result<Vec<Source>> {
    paths
        .iter()
        .filter(|path| path.ends_with(".rs"))
        .map(|path| {
            let text =
                std::fs::read_to_string(root.join(path)).with_context(|| format!("could not read {path}"))?;
            Ok(Source { path: path.clone(), text })
        })
        .collect()
}
