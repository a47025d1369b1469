//! Generates the protobuf types and the gRPC client and server from `proto/`, without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(
        [
            "forebay/agent/v1/control.proto",
            "forebay/node/v1/link.proto",
            "forebay/operator/v1/enrolment.proto",
            "forebay/operator/v1/session.proto",
        ],
        ["proto"],
    )?;
    // What carries a credential gets a `Debug` by hand, which prints none.
    let secret = ["forebay.operator.v1.Secret", "forebay.operator.v1.EnrolRequest"];
    tonic_prost_build::configure().emit_rerun_if_changed(false).skip_debug(secret).compile_fds(files)?;
    Ok(())
}
