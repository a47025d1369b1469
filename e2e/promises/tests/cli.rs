//! `kubectl forebay`, as people type it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use forebay_e2e::wait_until;
use forebay_promises::{Reader, SOON, Site, dataset, sums_of};

use crate::Promise;
use crate::life::second;

pub(crate) const PROMISES: &[Promise] = &[
    ("cli::a_refresh_is_waited_for_and_shows_what_is_new", refreshed),
    ("cli::what_is_evicted_is_freed_and_read_right_again_and_pins_survive", evicted),
    ("cli::doctor_names_a_wrong_secret_with_its_remedy", wrong_secret),
    ("cli::a_missing_grant_is_cured_by_the_very_words_of_the_doctor", no_grant),
    ("cli::who_may_edit_a_namespace_needs_no_more", developer),
    ("cli::each_example_of_its_page_runs", examples),
];

const LIMIT: &str = "240s";

/// The bytes that a Dataset has cached, and of them the pinned ones.
fn cached(site: &Site, name: &str) -> Result<(u64, u64)> {
    let object = site.cluster.get(&["dataset", name])?;
    let number = |field: &str| object["status"]["cache"][field].as_u64().unwrap_or(0);
    Ok((number("bytes"), number("pinnedBytes")))
}

fn refreshed(site: &Site) -> Result<()> {
    let store = second(site, "cli-refreshed")?;
    site.cluster.apply(&(store.secret("cli-refreshed") + &dataset("cli-refreshed", &store.mount("cli-refreshed"))))?;
    site.wait_phase("default", "cli-refreshed", "Ready")?;
    let status = site.forebay_well(&["status", "cli-refreshed"])?;
    ensure!(status.contains("Ready") && status.contains("40"), "{status}");
    std::fs::write(store.source.join("news"), b"something new")?;
    store.upload()?;
    let told = site.forebay_well(&["refresh", "cli-refreshed", "--wait", "--timeout", LIMIT])?;
    ensure!(told.contains("done: 41 files"), "{told}");
    ensure!(site.field(&["dataset", "cli-refreshed"], "/status/catalog/files")? == 41, "it said so, and it was not so");
    ensure!(Reader::of_claim("default", "cli-refreshed", "cli-refreshed").run(site)? == sums_of(&store.source)?);
    site.cluster.kubectl(&["delete", "dataset", "cli-refreshed", "--timeout=180s"])?;
    site.cluster.kubectl(&["delete", "secret", "cli-refreshed"]).map(drop)
}

fn evicted(site: &Site) -> Result<()> {
    let name = "cli-evicted";
    let store = second(site, name)?;
    site.cluster.apply(&(store.secret(name) + &dataset(name, &store.mount(name))))?;
    site.wait_phase("default", name, "Ready")?;
    let whole = sums_of(&store.source)?;
    let size = site.field(&["dataset", name], "/status/catalog/bytes")?.as_u64().context("no size")?;

    let told = site.forebay_well(&["prefetch", name, "--wait", "--timeout", LIMIT])?;
    ensure!(told.contains("/ is fetched ahead, before it was nothing") && told.contains("done: 100%"), "{told}");
    ensure!(cached(site, name)?.0 == size, "not all of {size} bytes is cached");
    // What would be fetched again at once is not dropped in silence.
    let refused = site.forebay(&["evict", name])?;
    ensure!(refused.code == 2 && refused.text.contains("--off") && refused.text.contains("--refetch"), "{refused:?}");
    let told = site.forebay_well(&["prefetch", name, "--off"])?;
    ensure!(told.contains("nothing is fetched ahead any more"), "{told}");

    // file-7 has 70 000 bytes, file-9 90 000.
    site.forebay_well(&["pin", name, "/file-7", "/file-9", "--wait", "--timeout", LIMIT])?;
    wait_until("the pins to be counted", SOON, || Ok((cached(site, name)?.1 == 160_000).then_some(())))?;
    let told = site.forebay_well(&["evict", name, "/file-8", "--wait", "--timeout", LIMIT])?;
    ensure!(told.contains("/file-8 is dropped on all nodes"), "{told}");
    ensure!(cached(site, name)? == (size - 80_000, 160_000), "{:?} of {size}", cached(site, name)?);
    let told = site.forebay_well(&["evict", name, "--wait", "--timeout", LIMIT])?;
    ensure!(told.contains("done"), "{told}");
    ensure!(cached(site, name)? == (160_000, 160_000), "{:?} is left beside the pins", cached(site, name)?);
    ensure!(Reader::of_claim("default", name, name).run(site)? == whole, "other bytes after the eviction");

    site.forebay_well(&["pin", name, "--remove", "/file-7", "/file-9", "--wait", "--timeout", LIMIT])?;
    wait_until("the pins to be gone", SOON, || Ok((cached(site, name)?.1 == 0).then_some(())))?;
    site.forebay_well(&["evict", name, "--wait", "--timeout", LIMIT])?;
    ensure!(cached(site, name)? == (0, 0), "{:?} is left", cached(site, name)?);
    site.cluster.kubectl(&["delete", "dataset", name, "--timeout=180s"])?;
    site.cluster.kubectl(&["delete", "secret", name]).map(drop)
}

/// Waits until the doctor says all of `words`; all that it said.
fn doctor(site: &Site, ask: &[&str], words: &[&str]) -> Result<String> {
    let mut last = String::new();
    wait_until(&format!("the doctor to say {words:?}"), SOON, || {
        let answer = site.forebay(&[&["doctor"], ask].concat())?;
        last = answer.text;
        Ok((answer.code == 1 && words.iter().all(|word| last.contains(word))).then(|| last.clone()))
    })
    .with_context(|| last.clone())
}

fn wrong_secret(site: &Site) -> Result<()> {
    site.cluster.apply(&dataset("cli-wrong", &site.store.mount("cli-wrong")))?;
    doctor(site, &["cli-wrong"], &["there is no Secret cli-wrong", "kubectl create secret generic"])?;
    site.cluster.apply(&forebay_promises::secret("cli-wrong", "forebay-e2e", "not-the-key"))?;
    doctor(site, &["cli-wrong"], &["AccessDenied", "kubectl edit secret -n default cli-wrong"])?;
    site.cluster.apply(&site.store.secret("cli-wrong"))?;
    site.wait_phase("default", "cli-wrong", "Ready")?;
    wait_until("the doctor to be content", SOON, || Ok((site.forebay(&["doctor", "cli-wrong"])?.code == 0).then_some(())))?;
    site.cluster.kubectl(&["delete", "dataset", "cli-wrong", "--timeout=180s"])?;
    site.cluster.kubectl(&["delete", "secret", "cli-wrong"]).map(drop)
}

fn no_grant(site: &Site) -> Result<()> {
    site.cluster.kubectl(&["create", "namespace", "cli-strangers"])?;
    let reader = Reader::inline("cli-strangers", "reader", "default/first");
    reader.start(site)?;
    let said = doctor(site, &["--pod", "reader", "-n", "cli-strangers"], &["may not use Dataset default/first", "remedy"])?;
    let remedy = said.split('`').find(|words| words.starts_with("kubectl patch")).context(said.clone())?;
    run(site, remedy)?;
    ensure!(reader.finish(site)? == sums_of(&site.store.source)?);
    wait_until("the doctor to find nothing any more", SOON, || {
        Ok((site.forebay(&["doctor", "--pod", "reader", "-n", "cli-strangers"])?.code == 0).then_some(()))
    })?;
    reader.remove(site)?;
    site.cluster.kubectl(&["patch", "dataset", "first", "--type=merge", "-p", r#"{"spec": {"allowedNamespaces": null}}"#])?;
    site.cluster.kubectl(&["delete", "namespace", "cli-strangers", "--timeout=120s"]).map(drop)
}

fn developer(site: &Site) -> Result<()> {
    let kubectl = |words: &[&str]| site.cluster.kubectl(words);
    kubectl(&["create", "serviceaccount", "developer"])?;
    kubectl(&["create", "rolebinding", "developer", "--clusterrole=edit", "--serviceaccount=default:developer"])?;
    let token = kubectl(&["create", "token", "developer"])?;
    let config = site.work("developer")?.join("kubeconfig");
    std::fs::write(&config, kubectl(&["config", "view", "--raw", "--flatten"])?)?;
    let config = config.to_str().context("the directory's name is not UTF-8")?;
    kubectl(&["--kubeconfig", config, "config", "set-credentials", "developer", &format!("--token={}", token.trim())])?;
    kubectl(&["--kubeconfig", config, "config", "set-context", "--current", "--user=developer"])?;
    let forebay = |words: &[&str]| site.forebay(&[words, &["--kubeconfig", config]].concat());
    // Kubernetes adds the rules to its own roles in its own time.
    wait_until("the developer to see the Dataset", SOON, || Ok((forebay(&["status", "first"])?.code == 0).then_some(())))?;
    for words in
        [&["refresh", "first", "--wait", "--timeout", LIMIT][..], &["pin", "first", "/"], &["pin", "first", "/", "--remove"]]
    {
        let done = forebay(words)?;
        ensure!(done.code == 0, "{words:?}: {done:?}");
    }
    // What may not be looked at is said, and is no finding.
    let said = forebay(&["doctor", "first"])?;
    ensure!(said.text.contains("note: nodes could not be looked at") && said.text.contains("forbidden"), "{said:?}");
    let elsewhere = forebay(&["status", "-n", "kube-system"])?;
    ensure!(elsewhere.code == 2 && elsewhere.text.contains("forbidden"), "{elsewhere:?}");
    site.wait_phase("default", "first", "Ready")?;
    kubectl(&["delete", "rolebinding,serviceaccount", "developer"]).map(drop)
}

/// Runs a script as somebody with kubectl, its plugin and the cluster's kubeconfig would; what it printed.
fn run(site: &Site, script: &str) -> Result<String> {
    let kubectl = site.cluster.command("kubectl")?;
    let programs = Path::new(kubectl.get_program()).parent().map(Path::to_path_buf).unwrap_or_default();
    let path = format!("{}:{}:{}", site.plugin()?.display(), programs.display(), std::env::var("PATH")?);
    let output =
        Command::new("sh").args(["-e", "-c", script]).env("PATH", path).env("KUBECONFIG", site.cluster.kubeconfig()).output()?;
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{script}\n{printed}");
    Ok(printed)
}

fn examples(site: &Site) -> Result<()> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations/kubectl-forebay.md"))?;
    let blocks: Vec<&str> = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    ensure!(blocks.len() > 5, "the page has {} examples", blocks.len());
    // They speak of the Dataset of the README, and of the pod that reads it inline.
    let first = site.cluster.get(&["dataset", "first"])?["spec"].clone();
    let reader = Reader::inline("default", "trainer", "first").script("sleep 600");
    reader.start(site)?;
    site.wait_for("the pod to run", &["pod", "trainer"], |pod| pod["status"]["phase"] == "Running")?;
    for block in blocks {
        run(site, block)?;
    }
    reader.remove(site)?;
    // As the other promises know it.
    let patch = serde_json::json!({"spec": {"prefetch": first["prefetch"], "pin": {"paths": first["pin"]["paths"]}}});
    site.cluster.kubectl(&["patch", "dataset", "first", "--type=merge", "-p", &patch.to_string()])?;
    site.wait_phase("default", "first", "Ready").map(drop)
}
