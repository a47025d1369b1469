use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use forebay_e2e::{Process, free_port, part, wait_until};

use crate::{NAMESPACE, SOON, Site};

/// Prometheus, which scrapes the agents' pods, and prometheus-adapter, by which the API server answers what an autoscaler asks about
/// pods. Programs of the machine; they end when it is dropped.
#[derive(Debug)]
pub struct Metering {
    prometheus: Process,
    adapter: Process,
    objects: String,
}

/// Where the example stands that people are given, with the rule of each metric.
fn example() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/autoscale/prometheus-adapter.yaml")
}

impl Metering {
    /// Starts both.
    pub fn start(site: &Site) -> Result<Self> {
        let work = site.work("metering")?;
        let kubeconfig = site.cluster.kubeconfig().display().to_string();
        let scrape = work.join("prometheus.yaml");
        std::fs::write(&scrape, scraping(&kubeconfig))?;
        let port = free_port()?;
        let mut prometheus = Command::new(part("prometheus")?);
        prometheus.arg(format!("--config.file={}", scrape.display()));
        prometheus.arg(format!("--storage.tsdb.path={}", work.join("prometheus").display()));
        prometheus.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let prometheus = Process::spawn("prometheus", prometheus, &work.join("prometheus.log"))?;

        // On the address by which the cluster knows the machine: the API server calls whoever serves an API at an endpoint of its Service.
        let host = site.cluster.addresses().host();
        let secure = forebay_e2e::free_port_on(host)?;
        let mut adapter = Command::new(part("prometheus-adapter")?);
        adapter.arg(format!("--prometheus-url=http://127.0.0.1:{port}")).arg(format!("--config={}", example().display()));
        adapter.arg(format!("--bind-address={host}")).arg(format!("--secure-port={secure}"));
        adapter.arg(format!("--cert-dir={}", work.join("adapter").display()));
        adapter.args(["--metrics-relist-interval=5s", "--metrics-max-age=1m"]);
        for of in ["lister", "authentication", "authorization"] {
            adapter.arg(format!("--{of}-kubeconfig={kubeconfig}"));
        }
        let adapter = Process::spawn("prometheus-adapter", adapter, &work.join("adapter.log"))?;
        let objects = served_at(&host.to_string(), secure);
        site.cluster.apply(&objects)?;
        Ok(Self { prometheus, adapter, objects })
    }

    /// Waits until the API server tells `metric` of so many of the agents' pods.
    pub fn wait_known(&self, site: &Site, metric: &str, runtime: &str, agents: usize) -> Result<()> {
        let selector = format!("labelSelector=forebay.io/runtime%3D{runtime}");
        let path = format!("/apis/custom.metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}/pods/*/{metric}?{selector}");
        wait_until(&format!("{metric} of {agents} agents"), SOON, || {
            let told: serde_json::Value = serde_json::from_str(&site.cluster.kubectl(&["get", "--raw", &path])?)?;
            let items = told["items"].as_array().map(Vec::len).unwrap_or_default();
            Ok((items == agents).then_some(()))
        })
        .with_context(|| self.tail())
    }

    /// The last that both said.
    pub fn tail(&self) -> String {
        format!("prometheus:\n{}\nprometheus-adapter:\n{}", self.prometheus.tail(), self.adapter.tail())
    }

    /// Ends both and takes away by what they were reached.
    pub fn stop(self, site: &Site) -> Result<()> {
        let Self { prometheus, adapter, objects } = self;
        let deleted = site.cluster.delete(&objects).map(drop);
        drop((prometheus, adapter));
        deleted
    }
}

/// What the chart's PodMonitor has prometheus-operator make, for a Prometheus without one.
fn scraping(kubeconfig: &str) -> String {
    format!(
        "global: {{scrape_interval: 2s}}
scrape_configs:
- job_name: forebay-agent
  kubernetes_sd_configs: [{{role: pod, kubeconfig_file: {kubeconfig}, namespaces: {{names: [{NAMESPACE}]}}}}]
  relabel_configs:
  - {{source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_name], regex: forebay-agent, action: keep}}
  - {{source_labels: [__meta_kubernetes_pod_container_port_name], regex: metrics, action: keep}}
  - {{source_labels: [__meta_kubernetes_namespace], target_label: namespace}}
  - {{source_labels: [__meta_kubernetes_pod_name], target_label: pod}}
"
    )
}

fn served_at(host: &str, port: u16) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: metering, namespace: default}}
spec: {{ports: [{{name: https, port: 443, targetPort: {port}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: metering, namespace: default, labels: {{kubernetes.io/service-name: metering}}}}
addressType: IPv4
ports: [{{name: https, port: {port}}}]
endpoints: [{{addresses: [{host}], conditions: {{ready: true}}}}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {{name: v1beta1.custom.metrics.k8s.io}}
spec:
  group: custom.metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {{name: metering, namespace: default}}
---
"
    )
}
