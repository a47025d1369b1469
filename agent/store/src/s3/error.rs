use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_smithy_xml::decode::{Document, try_data};

use crate::{StoreError, StoreErrorKind, StoreId, Version};

/// An error answer, as far as its meaning depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answer<'a> {
    pub(super) operation: &'static str,
    pub(super) status: u16,
    pub(super) code: &'a str,
    pub(super) message: &'a str,
    /// `x-amz-bucket-region`.
    pub(super) region: Option<&'a str>,
    /// The version that `If-Match` named.
    pub(super) expected: Option<&'a Version>,
}

/// What an error answer means.
pub(super) fn kind(answer: Answer<'_>) -> StoreErrorKind {
    let Answer { operation, status, code, message, region, expected } = answer;
    match code {
        "NoSuchBucket" => return StoreErrorKind::NoSuchContainer,
        "InvalidBucketName" => return StoreErrorKind::Config("the store refuses the bucket's name".to_owned()),
        "SlowDown"
        | "SlowDownRead"
        | "SlowDownWrite"
        | "TooManyRequests"
        | "TooManyRequestsException"
        | "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "ServerBusy" => {
            return StoreErrorKind::Throttled;
        }
        "RequestTimeout" => return StoreErrorKind::Timeout,
        // AWS answers these with 400, and versitygw the last with 404.
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" | "InvalidAccessKeyId" | "XAdminUserNotFound" => {
            return StoreErrorKind::Denied;
        }
        "InvalidObjectState" => {
            return StoreErrorKind::Unsupported("the object is archived; restore it in the store first".to_owned());
        }
        "AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect" | "IllegalLocationConstraintException" => {
            return elsewhere(region.or_else(|| region_in(message)));
        }
        _ => {}
    }
    match status {
        301 | 302 | 307 | 308 => elsewhere(region),
        // HEAD has no body, so only the header tells why.
        400 if code.is_empty() && region.is_some() => elsewhere(region),
        401 | 403 => StoreErrorKind::Denied,
        404 if operation == "list" => StoreErrorKind::NoSuchContainer,
        404 | 410 => StoreErrorKind::NotFound,
        408 => StoreErrorKind::Timeout,
        412 => match expected {
            Some(expected) => StoreErrorKind::Changed { expected: expected.clone(), found: "unknown".to_owned() },
            None => StoreErrorKind::Protocol("HTTP 412 without a condition".to_owned()),
        },
        416 => StoreErrorKind::RangeNotSatisfiable,
        429 => StoreErrorKind::Throttled,
        501 => StoreErrorKind::Unsupported("the store does not implement the request".to_owned()),
        500..=599 => StoreErrorKind::Unavailable,
        status => StoreErrorKind::Protocol(format!("HTTP {status} {code}")),
    }
}

fn elsewhere(region: Option<&str>) -> StoreErrorKind {
    StoreErrorKind::Config(match region {
        Some(region) => format!("the bucket is in region {region}: set the mount's option region to {region}"),
        None => "the bucket is served from another region or endpoint: correct the mount's options".to_owned(),
    })
}

/// The region that AWS names in `... the region 'us-east-1' is wrong; expecting 'eu-west-1'`.
fn region_in(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("expecting '")?;
    rest.split_once('\'').map(|(region, _)| region)
}

/// What an error answer means, and the words for people. `request`: the id that the store gave it.
pub(super) fn told(answer: Answer<'_>, request: Option<&str>) -> (StoreErrorKind, String) {
    let mut text = format!("HTTP {}", answer.status);
    for word in [answer.code, answer.message] {
        if !word.is_empty() {
            text.extend([" ", word]);
        }
    }
    text.extend(["; request id ", request.unwrap_or("none")]);
    // The SDK's name for a 404 of a HEAD, which says no more than the status.
    let code = if answer.code == "NotFound" { "" } else { answer.code };
    (kind(Answer { code, ..answer }), text)
}

/// Code and message of an error answer's body; empty where it is not S3's.
pub(super) fn in_body(body: &[u8]) -> (String, String) {
    let read = || -> Option<(String, String)> {
        let mut document = Document::try_from(body).ok()?;
        let mut root = document.root_element().ok()?;
        let (mut code, mut message) = (String::new(), String::new());
        while let Some(mut tag) = root.next_tag() {
            match tag.start_el().local() {
                "Code" => code = try_data(&mut tag).ok()?.into_owned(),
                "Message" => message = try_data(&mut tag).ok()?.into_owned(),
                _ => {}
            }
        }
        Some((code, message))
    };
    read().unwrap_or_default()
}

/// Makes the store's error of the SDK's.
pub(super) fn from_sdk<E>(
    id: &StoreId,
    operation: &'static str,
    key: &str,
    expected: Option<&Version>,
    error: SdkError<E, HttpResponse>,
) -> StoreError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let (kind, cause) = match &error {
        SdkError::ServiceError(service) => {
            let raw = service.raw();
            let header = |name: &str| raw.headers().get(name);
            let code = service.err().code().unwrap_or_default();
            let answer = Answer {
                operation,
                status: raw.status().as_u16(),
                code,
                message: service.err().message().unwrap_or_default(),
                region: header("x-amz-bucket-region"),
                expected,
            };
            told(answer, header("x-amz-request-id").or_else(|| header("x-obs-request-id")))
        }
        other => (of_transport(other), DisplayErrorContext(other).to_string()),
    };
    StoreError::new(id, operation, key, kind).with_cause(cause)
}

/// What the lack of an error answer means.
fn of_transport<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> StoreErrorKind {
    if find::<CredentialsError>(error) {
        return StoreErrorKind::Denied;
    }
    match error {
        SdkError::TimeoutError(_) => StoreErrorKind::Timeout,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => StoreErrorKind::Timeout,
        SdkError::DispatchFailure(failure) if failure.is_user() => StoreErrorKind::Config("the request is invalid".to_owned()),
        SdkError::DispatchFailure(_) => StoreErrorKind::Unavailable,
        SdkError::ConstructionFailure(_) => StoreErrorKind::Config("the request cannot be built".to_owned()),
        SdkError::ResponseError(answer) => match answer.raw().status().as_u16() {
            500..=599 => StoreErrorKind::Unavailable,
            // The connection broke within the answer, or the answer is not S3's XML. The first may pass, and the
            // second is most often a proxy's page in place of the store.
            200..=299 => StoreErrorKind::Unavailable,
            status => StoreErrorKind::Protocol(format!("HTTP {status} with an answer that is not S3's")),
        },
        _ => StoreErrorKind::Protocol("unknown failure of the SDK".to_owned()),
    }
}

fn find<T: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<T>() {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests;
