use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use forebay_cluster::{Image, busybox_image, pause_image};

use crate::sh::{self, say};
use crate::{install, parts, workspace};

/// Linked statically: the images hold nothing beside the program.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// Debian's bundle of the authorities that the world trusts, for stores behind HTTPS.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// How programs are built that are shipped.
pub(crate) const SHIPPED: &str = "image";

const PROGRAMS: &[&str] = &["forebay-operator", "forebay-agent", "forebay-csi"];

#[derive(Args, Debug)]
pub(crate) struct ImagesArgs {
    /// Build in a third of the time, for tests: hardly optimised
    #[arg(long)]
    debug: bool,
    /// Build nothing: take the programs in this directory, and with them the libraries that they are linked to. For trying things out
    #[arg(long, conflicts_with = "debug", value_name = "DIR")]
    built: Option<PathBuf>,
    /// Where the archives go [default: `images` in the target directory]
    #[arg(long)]
    out: Option<PathBuf>,
    /// The images' tag
    #[arg(long, default_value = "dev")]
    tag: String,
    /// The images' registry
    #[arg(long, default_value = "localhost")]
    registry: String,
    /// Also those that tests need: busybox, pause, csi-provisioner
    #[arg(long)]
    test: bool,
    /// Also those of Kubernetes' own suite for storage drivers, as `localhost/e2e/NAME:VERSION`
    #[arg(long)]
    suite: bool,
}

/// The images that promises in the cluster need: with the programs as they are shipped, or hardly optimised.
pub(crate) fn for_tests(out: &Path, debug: bool) -> Result<()> {
    let (tag, registry) = ("dev".to_owned(), "localhost".to_owned());
    run(&ImagesArgs { debug, out: Some(out.to_owned()), tag, registry, test: true, built: None, suite: true })
}

/// The agent that is in the images, as shipped.
pub(crate) fn agent() -> Result<PathBuf> {
    Ok(static_programs(SHIPPED)?.join("forebay-agent"))
}

/// `cargo xtask images`.
pub(crate) fn run(args: &ImagesArgs) -> Result<()> {
    let out = match &args.out {
        Some(out) => out.clone(),
        None => workspace::target()?.join("images"),
    };
    fs::create_dir_all(&out).with_context(|| format!("create {}", out.display()))?;
    install::debian(&["cc", "musl-gcc", "busybox", AUTHORITIES])?;
    let programs = match &args.built {
        Some(dir) => PROGRAMS.iter().map(|&program| (program, dir.join(program))).filter(|(_, path)| path.is_file()).collect(),
        None => programs(args.debug)?,
    };
    for (program, path) in programs {
        let name = format!("{}/{program}:{}", args.registry, args.tag);
        let mut image = Image::new(&name, &[&format!("/{program}")]).program(&format!("/{program}"), &path);
        if args.built.is_some() {
            for library in libraries(&path)? {
                image = image.program(&library, Path::new(&library));
            }
        }
        write(&image.file(AUTHORITIES, Path::new(AUTHORITIES)), &out, program)?;
    }
    if args.test {
        write(&busybox_image()?, &out, "busybox")?;
        write(&pause_image()?, &out, "pause")?;
        let provisioner = parts::ensure(&["csi-provisioner"])?.join("csi-provisioner");
        // The chart's default.
        let image = Image::new("localhost/csi-provisioner:v6.4.0", &["/csi-provisioner"]);
        write(&image.program("/csi-provisioner", &provisioner), &out, "csi-provisioner")?;
    }
    if args.suite {
        let agnhost = parts::ensure(&["agnhost"])?.join("agnhost");
        // The versions are those that the suite of this Kubernetes asks for.
        for (name, version) in [("busybox", "1.37.0-2"), ("glibc-dns-testing", "2.1.1")] {
            write(&busybox_image()?.named(&format!("localhost/e2e/{name}:{version}")), &out, &format!("e2e-{name}"))?;
        }
        let image = busybox_image()?.named("localhost/e2e/agnhost:2.66.1").entrypoint(&["/agnhost"]).arguments(&["pause"]);
        write(&image.program("/agnhost", &agnhost), &out, "e2e-agnhost")?;
    }
    Ok(())
}

fn write(image: &Image, out: &Path, name: &str) -> Result<()> {
    let archive = out.join(format!("{name}.tar"));
    image.write(&archive)?;
    say(&archive.display().to_string());
    Ok(())
}

/// The shared libraries of a program, its loader included.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let text = sh::read(Command::new("ldd").arg(program))?;
    // `NAME => /path (0x...)`, `/path (0x...)` or, for what the kernel gives, `NAME (0x...)`.
    let words = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(words.map(str::to_owned).collect())
}

/// Builds the programs and gives the path of each.
fn programs(debug: bool) -> Result<Vec<(&'static str, PathBuf)>> {
    let there = workspace::packages()?;
    let programs: Vec<_> = PROGRAMS.iter().copied().filter(|&program| there.iter().any(|package| package == program)).collect();
    let dir = build_static(&programs, if debug { "image-debug" } else { SHIPPED })?;
    let paths = programs.into_iter().map(|program| {
        let path = dir.join(program);
        if !path.is_file() {
            bail!("{} is not there: it was not built", path.display());
        }
        Ok((program, path))
    });
    paths.collect()
}

/// Builds packages so that their programs need nothing of the machine they run on; the directory of the programs.
pub(crate) fn build_static(packages: &[&str], profile: &str) -> Result<PathBuf> {
    if sh::has("rustup") {
        sh::run(Command::new("rustup").current_dir(workspace::root()?).args(["--quiet", "target", "add", TARGET]))?;
    }
    let mut build = workspace::cargo()?;
    build.args(["build", "--locked", "--target", TARGET, "--profile", profile]);
    for package in packages {
        build.args(["--package", package]);
    }
    sh::run(&mut build)?;
    static_programs(profile)
}

/// Where [`build_static`] leaves them.
fn static_programs(profile: &str) -> Result<PathBuf> {
    Ok(workspace::target()?.join(TARGET).join(profile))
}
