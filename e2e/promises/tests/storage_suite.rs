//! Kubernetes' own suite for storage drivers, on the installed chart: what applies to a read-only driver passes, and the page
//! docs/operations/storage-suite.md names everything else with its reason.

mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use forebay_e2e::{Process, part};
use forebay_promises::{Site, Store};

use crate::Promise;
use report::{End, Ends};

pub(crate) const PROMISES: &[Promise] =
    &[("storage_suite::kubernetes_own_suite_for_storage_drivers_ends_as_the_page_says", suite)];

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const PAGE: &str = "docs/operations/storage-suite.md";
const DRIVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/storage_suite/driver.yaml");

/// Processes that share the tests: these wait for pods most of their time.
const PROCESSES: usize = 3;

/// Several times what all tests take on a busy machine.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Where the suite finds its images: those that `cargo xtask images --suite` builds.
const IMAGES: &str = "promoterE2eRegistry: localhost/e2e\n";

/// The Dataset that every volume of the suite is, and a class that provisions it.
fn volumes(store: &Store) -> String {
    let mounts = store.mount("suite");
    format!(
        "apiVersion: forebay.io/v1alpha1
kind: Dataset
metadata: {{name: suite}}
spec:
  mounts: {mounts}
  # The suite makes a namespace for each test.
  allowedNamespaces: [\"*\"]
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {{name: forebay-suite}}
provisioner: csi.forebay.io
parameters: {{dataset: default/suite}}
---
"
    )
}

fn log(work: &Path, process: usize) -> PathBuf {
    work.join(format!("suite-{process}.log"))
}

/// Starts one process with its share of the tests; the report that it will write.
fn start(work: &Path, process: usize, not_run: &[&str]) -> Result<(Process, PathBuf)> {
    let report = work.join(format!("report-{process}.json"));
    let mut command = Command::new(part("storage-suite")?);
    command.arg(format!("-storage.testdriver={DRIVER}")).arg(format!("--kubeconfig={}", work.join("kubeconfig").display()));
    command.arg(format!("--kubectl-path={}", part("kubectl")?.display()));
    command.args(["--ginkgo.focus=External.Storage", "--ginkgo.no-color"]);
    command.arg(format!("--ginkgo.timeout={}s", LIMIT.as_secs()));
    command.arg(format!("--ginkgo.json-report={}", report.display()));
    // Of a failed test's namespace the suite would print every object: what is needed is in our own diagnosis.
    command.args(["--dump-logs-on-failure=false", "--disable-log-dump"]);
    for name in not_run {
        command.arg(format!("--ginkgo.skip={}$", pattern(name)));
    }
    command.env("KUBE_TEST_REPO_LIST", work.join("images.yaml")).env("DEBUG_STORAGE_TESTSUITE", "1").current_dir(work);
    Ok((Process::spawn("storage-suite", command, &log(work, process))?, report))
}

/// A regular expression that matches just the name.
fn pattern(name: &str) -> String {
    let mut pattern = String::new();
    for letter in name.chars() {
        if !letter.is_alphanumeric() && letter != ' ' {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

fn suite(site: &Site) -> Result<()> {
    let text = fs::read_to_string(Path::new(ROOT).join(PAGE)).with_context(|| format!("read {PAGE}"))?;
    let page = report::page(&text)?;
    let work = site.work("storage-suite")?;
    fs::write(work.join("images.yaml"), IMAGES)?;
    // With the certificates themselves: the suite would look for their files in its own directory.
    fs::write(work.join("kubeconfig"), site.cluster.kubectl(&["config", "view", "--raw", "--flatten"])?)?;
    let store = Store::start(&site.cluster, &work.join("store"))?;
    fs::create_dir_all(&store.source)?;
    fs::write(store.source.join("file"), "of a Dataset\n")?;
    store.upload()?;
    site.cluster.apply(&(store.secret("suite") + &volumes(&store)))?;
    site.wait_phase("default", "suite", "Ready")?;

    let is_run = |end: &End| matches!(end, End::Passed | End::LeftOut(_));
    let run: Vec<&str> = page.iter().filter(|(_, end)| is_run(end)).map(|(name, _)| name.as_str()).collect();
    let mut processes = Vec::new();
    for process in 0..PROCESSES {
        let theirs = |name: &str| run.iter().position(|one| *one == name).is_some_and(|place| place % PROCESSES == process);
        // A test that the page does not know is run by the first.
        let not_run: Vec<&str> = page.keys().map(String::as_str).filter(|name| !theirs(name)).collect();
        processes.push(start(&work, process, &not_run)?);
    }
    let mut seen = Ends::new();
    for (mut process, path) in processes {
        // It cleans up after the time that it was given.
        process.wait(LIMIT + LIMIT / 4)?;
        let text = fs::read_to_string(&path).with_context(|| process.tail())?;
        report::merge(&mut seen, report::read(&serde_json::from_str(&text)?)?);
    }
    // All tell the same of that.
    seen.extend(report::undefined(&fs::read_to_string(log(&work, 0))?));
    let differences = report::differences(&page, &seen);
    ensure!(differences.is_empty(), "the suite ended otherwise than {PAGE} says:\n{}", differences.join("\n"));
    let passed = seen.values().filter(|end| **end == End::Passed).count();
    let not_run = seen.values().filter(|end| **end == End::NotRun).count();
    crate::say(&format!("          {passed} passed, {not_run} not run, the suite left out the others: see {PAGE}"));
    for words in [["delete", "storageclass", "forebay-suite"], ["delete", "dataset", "suite"], ["delete", "secret", "suite"]] {
        site.cluster.kubectl(&words)?;
    }
    Ok(())
}
