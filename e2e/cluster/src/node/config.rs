//! What a node's programs read. Every path is one inside the node.

use std::net::Ipv4Addr;

use crate::addresses::Addresses;

/// Where a node keeps its certificates and kubeconfigs: in its own `/var`.
pub(super) const PKI: &str = "/var/lib/kubernetes";

/// Where the parts are mounted.
pub(super) const PARTS: &str = "/opt/parts";

pub(super) const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// Debian's runc, and its CNI plugins' directory.
const RUNC: &str = "/usr/sbin/runc";
const CNI: &str = "/usr/lib/cni";

pub(super) fn cni(addresses: Addresses, index: u8) -> String {
    let pods = addresses.pods(index);
    format!(
        r#"{{"cniVersion":"1.0.0","name":"pods","plugins":[
  {{"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":false,"hairpinMode":true,
   "ipam":{{"type":"host-local","ranges":[[{{"subnet":"{pods}"}}]],"routes":[{{"dst":"0.0.0.0/0"}}]}}}},
  {{"type":"portmap","capabilities":{{"portMappings":true}}}}]}}
"#
    )
}

pub(super) fn containerd() -> String {
    // restrict_oom_score_adj: without CAP_SYS_RESOURCE runc cannot lower a score, and says "can't get final child's PID from pipe".
    format!(
        r#"version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "{pause}"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["{CNI}"]
    conf_dir = "/run/cni/net.d"
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = "runc"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        BinaryName = "{RUNC}"
        SystemdCgroup = false
"#,
        pause = crate::image::PAUSE
    )
}

/// crashLoopBackOff: a test kills a container fifty times, and is not to wait five minutes for each.
pub(super) fn kubelet(node: &str, address: Ipv4Addr, cgroup: &str, dns: Ipv4Addr) -> String {
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {address}
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}
failSwapOn: false
containerRuntimeEndpoint: unix://{CONTAINERD_SOCKET}
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: {PKI}/ca.crt}}}}
authorization: {{mode: Webhook}}
tlsCertFile: {PKI}/{node}.crt
tlsPrivateKeyFile: {PKI}/{node}.key
clusterDNS: [{dns}]
clusterDomain: cluster.local
resolvConf: /run/resolv.conf
evictionHard: {{memory.available: "200Mi", nodefs.available: "1%", imagefs.available: "1%"}}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
enforceNodeAllocatable: [pods]
maxPods: 60
nodeStatusUpdateFrequency: 4s
crashLoopBackOff: {{maxContainerRestartPeriod: 1s}}
"#
    )
}

pub(super) fn proxy(node: &str, pods: &str) -> String {
    // The limits of connection tracking are the machine's, not a namespace's to set.
    format!(
        r#"apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: {pods}
hostnameOverride: {node}
clientConnection: {{kubeconfig: {PKI}/proxy.kubeconfig}}
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
"#
    )
}
