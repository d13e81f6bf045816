//! Embeds the dashboard's libraries, fonts, icons, styles and scripts into the program.
//!
//! Libraries come from npm in the exact versions of `web-assets/package-lock.json`; they are installed
//! when that file changed or they are missing, and never else, so a prepared `node_modules` builds
//! without Node and without a network. What is served is named by its content and stands in a table
//! that `src/web/assets.rs` includes.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a build script starts npm and talks to Cargo"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Own style sheets in cascade order.
const CSS: [&str; 8] = ["tokens", "base", "frame", "parts", "tables", "charts", "pages", "widths"];
/// Packages whose licence texts are served with what was taken from them.
const LICENSED: [&str; 5] = [
    "htmx.org",
    "uplot",
    "@tabler/icons",
    "@fontsource-variable/inter",
    "@fontsource-variable/jetbrains-mono",
];
const NO_NODE: &str = "Node.js is missing: the dashboard's libraries come from npm. Install Node 20 or newer \
     (Debian: apt-get install nodejs npm), then run the same command again";

type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("cargo::error={}", message.replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<()> {
    let home = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let packages = home.join("web-assets");
    let own = home.join("src/web/assets");
    for path in ["build.rs", "src/web/assets", "web-assets/package.json", "web-assets/package-lock.json"] {
        println!("cargo::rerun-if-changed={path}");
    }
    install(&packages)?;
    println!("cargo::rerun-if-changed=web-assets/node_modules/.stamp");

    let modules = packages.join("node_modules");
    let mut bundle = Bundle::new(PathBuf::from(variable("OUT_DIR")?))?;
    let font =
        |family: &str, file: &str| modules.join("@fontsource-variable").join(family).join("files").join(file);
    for (name, path) in [
        ("inter-latin.woff2", font("inter", "inter-latin-wght-normal.woff2")),
        ("inter-vietnamese.woff2", font("inter", "inter-vietnamese-wght-normal.woff2")),
        ("mono-latin.woff2", font("jetbrains-mono", "jetbrains-mono-latin-wght-normal.woff2")),
    ] {
        bundle.add(name, bytes(&path)?)?;
    }
    let icons = icon_names(&own)?;
    bundle.add("mark.svg", bytes(&own.join("mark.svg"))?)?;
    bundle.add("sprite.svg", sprite(&icons, &modules, &own)?.into_bytes())?;
    let css = style_sheet(&modules, &own, &bundle)?;
    bundle.add("look.css", css.into_bytes())?;
    bundle.add("theme.js", script(&[own.join("theme.js")])?)?;
    let htmx = modules.join("htmx.org/dist");
    let app = [htmx.join("htmx.min.js"), htmx.join("ext/hx-sse.min.js"), own.join("look.js")];
    bundle.add("app.js", script(&app)?)?;
    let charts = [modules.join("uplot/dist/uPlot.iife.min.js"), own.join("series.js"), own.join("charts.js")];
    bundle.add("charts.js", script(&charts)?)?;
    bundle.add("licenses.txt", licenses(&modules)?.into_bytes())?;
    bundle.finish(&icons)
}

/// Runs `npm ci` when the installed packages are not those of the lock file.
fn install(packages: &Path) -> Result<()> {
    let lock = text(&packages.join("package-lock.json"))?;
    let wanted = format!("{:016x}", hash(lock.as_bytes()));
    let stamp = packages.join("node_modules/.stamp");
    let installed = || fs::read_to_string(&stamp).is_ok_and(|found| found == wanted);
    if installed() {
        return Ok(());
    }
    // Two builds of different profiles may arrive here at once; the second finds the work done.
    let guard = fs::File::create(packages.join(".install.lock"))
        .map_err(|e| format!("{}: {e}", packages.display()))?;
    guard.lock().map_err(|e| format!("cannot lock {}: {e}", packages.display()))?;
    if installed() {
        return Ok(());
    }
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let output = Command::new(npm)
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"])
        .current_dir(packages)
        .output()
        .map_err(|_| NO_NODE.to_owned())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
        return Err(format!(
            "npm ci failed in {}: {last}. Check the network and npm's registry setting (npm config get registry), \
             then run the same command again",
            packages.display()
        ));
    }
    fs::write(&stamp, wanted).map_err(|e| format!("cannot write {}: {e}", stamp.display()))
}

/// What is served, and the Rust source that lists it.
struct Bundle {
    out: PathBuf,
    /// Plain name to name with content hash.
    named: BTreeMap<String, String>,
    rows: Vec<(String, String)>,
}

impl Bundle {
    fn new(out: PathBuf) -> Result<Self> {
        let out = out.join("web");
        fs::create_dir_all(&out).map_err(|e| format!("cannot create {}: {e}", out.display()))?;
        Ok(Self { out, named: BTreeMap::new(), rows: Vec::new() })
    }

    fn add(&mut self, name: &str, content: Vec<u8>) -> Result<()> {
        let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
        let digest = format!("{:016x}", hash(&content));
        let file = format!("{stem}.{digest}.{ending}");
        self.write(&file, &content)?;
        let zipped = if ending == "woff2" {
            "None".to_owned() // compressed by itself
        } else {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(&content).map_err(|e| e.to_string())?;
            self.write(&format!("{file}.gz"), &encoder.finish().map_err(|e| e.to_string())?)?;
            format!("Some(include_bytes!(concat!(env!(\"OUT_DIR\"), \"/web/{file}.gz\")))")
        };
        let mime = match ending {
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            "woff2" => "font/woff2",
            _ => "text/plain; charset=utf-8",
        };
        let row = format!(
            "Asset {{ name: \"{file}\", mime: \"{mime}\", etag: \"\\\"{digest}\\\"\", \
             plain: include_bytes!(concat!(env!(\"OUT_DIR\"), \"/web/{file}\")), gzip: {zipped} }},"
        );
        self.rows.push((file.clone(), row));
        self.named.insert(name.to_owned(), file);
        Ok(())
    }

    fn write(&self, file: &str, content: &[u8]) -> Result<()> {
        let path = self.out.join(file);
        fs::write(&path, content).map_err(|e| format!("cannot write {}: {e}", path.display()))
    }

    /// Writes the table and one constant per address and icon.
    fn finish(mut self, icons: &[String]) -> Result<()> {
        self.rows.sort();
        let mut code = String::from("/// All assets, by name.\nstatic TABLE: &[Asset] = &[\n");
        for (_, row) in &self.rows {
            let _ = writeln!(code, "    {row}");
        }
        code.push_str("];\n");
        for (name, file) in &self.named {
            let _ = writeln!(
                code,
                "#[allow(dead_code)]\npub(crate) const {}: &str = \"/assets/{file}\";",
                constant(name)
            );
        }
        let sprite = self.named.get("sprite.svg").ok_or("no sprite")?;
        code.push_str(
            "/// Icons of objects and verbs.\n#[allow(dead_code, missing_docs)]\npub(crate) mod icons {\n",
        );
        for icon in icons {
            let _ = writeln!(
                code,
                "    pub(crate) const {}: super::Icon = super::Icon(\"/assets/{sprite}#i-{icon}\");",
                constant(icon)
            );
        }
        code.push_str("}\n");
        for state in ["ok", "warn", "crit", "info", "wait", "off", "maint", "run"] {
            let _ = writeln!(
                code,
                "pub(crate) const SHAPE_{}: &str = \"/assets/{sprite}#s-{state}\";",
                constant(state)
            );
        }
        let path = self.out.join("table.rs");
        fs::write(&path, code).map_err(|e| format!("cannot write {}: {e}", path.display()))
    }
}

fn icon_names(own: &Path) -> Result<Vec<String>> {
    Ok(text(&own.join("icons.txt"))?.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// One SVG file with a symbol per icon and per state.
fn sprite(icons: &[String], modules: &Path, own: &Path) -> Result<String> {
    let shapes = text(&own.join("shapes.svg"))?;
    let mut out = shapes.trim_end().trim_end_matches("</svg>").to_owned();
    for icon in icons {
        let svg = text(&modules.join(format!("@tabler/icons/icons/outline/{icon}.svg")))?;
        let body =
            svg.split_once("<svg").and_then(|(_, rest)| rest.split_once('>')).map_or("", |(_, body)| body);
        let _ = write!(out, "<symbol id=\"i-{icon}\" viewBox=\"0 0 24 24\">");
        for line in body.lines().map(str::trim) {
            if !line.is_empty() && line != "</svg>" && !line.contains("stroke=\"none\"") {
                out.push_str(line);
            }
        }
        out.push_str("</symbol>\n");
    }
    out.push_str("</svg>\n");
    Ok(out)
}

fn style_sheet(modules: &Path, own: &Path, bundle: &Bundle) -> Result<String> {
    let mut css = text(&modules.join("uplot/dist/uPlot.min.css"))?;
    for part in CSS {
        css.push_str(&text(&own.join("css").join(format!("{part}.css")))?);
    }
    for (name, file) in &bundle.named {
        css = css.replace(&format!("@asset/{name}"), file);
    }
    if css.contains("@asset/") {
        return Err("a style sheet names an asset that does not exist".to_owned());
    }
    Ok(shorten_css(&css))
}

/// Drops comments and space that has no meaning; strings stay as they are.
fn shorten_css(css: &str) -> String {
    let mut out = String::with_capacity(css.len());
    let mut rest = css;
    while let Some(c) = rest.chars().next() {
        if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, after)| after);
        } else if c == '"' {
            let end = rest[1..].find('"').map_or(rest.len(), |at| at + 2);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        } else if c.is_whitespace() {
            rest = rest.trim_start();
            let open = out.ends_with(['{', '}', ';', ',']) || rest.starts_with(['{', '}', ';', ',']);
            if !open && !out.is_empty() {
                out.push(' ');
            }
        } else {
            if c == '}' && out.ends_with(';') {
                out.pop();
            }
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// Joins scripts; own ones lose their indentation and the lines that are comments.
fn script(parts: &[PathBuf]) -> Result<Vec<u8>> {
    let mut out = String::from("/* Licences of the libraries in here: /assets/, licenses.txt */\n");
    for part in parts {
        let code = text(part)?;
        for line in code.lines().map(str::trim) {
            if !line.is_empty() && !line.starts_with("//") {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    Ok(out.into_bytes())
}

fn licenses(modules: &Path) -> Result<String> {
    LICENSED.iter().try_fold(String::new(), |mut out, package| {
        let _ = writeln!(out, "{package}\n\n{}\n", text(&modules.join(package).join("LICENSE"))?);
        Ok(out)
    })
}

/// FNV-1a: names and revalidation need no more than that contents differ.
fn hash(content: &[u8]) -> u64 {
    content
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn constant(name: &str) -> String {
    name.replace(['-', '.'], "_").to_uppercase()
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| format!("{name} is not set: run this through cargo"))
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}
