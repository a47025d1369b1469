use std::sync::LazyLock;
use std::time::SystemTime;

use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use http::Request;

/// As the SDK signs for S3: keys are signed as they are sent, and the hash of the (empty) body stands in a header.
static SETTINGS: LazyLock<SigningSettings> = LazyLock::new(|| {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings
});

/// SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Signs a request without a body, which has its `Host`; adds the headers of the signature.
pub(super) fn signed<B>(request: &mut Request<B>, identity: &Identity, region: &str, time: SystemTime) -> Result<(), String> {
    let params = v4::SigningParams::builder()
        .identity(identity)
        .region(region)
        .name("s3")
        .time(time)
        .settings(SETTINGS.clone())
        .build()
        .map_err(|error| error.to_string())?
        .into();
    let headers = request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let body = SignableBody::Precomputed(EMPTY.to_owned());
    let signable = SignableRequest::new(request.method().as_str(), request.uri().path(), headers, body);
    let (instructions, _) =
        sign(signable.map_err(|error| error.to_string())?, &params).map_err(|error| error.to_string())?.into_parts();
    instructions.apply_to_request_http1x(request);
    Ok(())
}
