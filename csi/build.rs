//! Generates the CSI services and kubelet's plugin registration from `proto/`, without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["csi.proto", "pluginregistration.proto"], ["proto"])?;
    tonic_prost_build::configure().emit_rerun_if_changed(false).generate_default_stubs(true).compile_fds(files)?;
    Ok(())
}
