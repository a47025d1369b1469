use std::fmt;

use ::http::{HeaderName, HeaderValue, header};

/// What a request says by itself: of another value the answers would not be what this store takes them for.
const OWN: [HeaderName; 12] = [
    header::ACCEPT_ENCODING,
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
    header::TRANSFER_ENCODING,
];

/// Which files, and as whom.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// `http://` or `https://` URL. With a trailing `/`: a directory. Without: one file.
    pub url: String,
    /// URL of a text file with the directory's paths, absolute or relative to `url`.
    pub index: Option<String>,
    /// As whom.
    pub auth: HttpAuth,
    /// Name and value of what every request says besides. They are part of the store's identity, since answers may depend on them.
    pub headers: Vec<(String, String)>,
    /// Certificates (PEM) to trust besides the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Files a listing page, at least 1. Each costs a request, and a page must be there within the request timeout.
    pub page_size: usize,
}

impl HttpConfig {
    /// That URL without index and credentials.
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), index: None, auth: HttpAuth::None, headers: Vec::new(), ca_pem: None, page_size: 256 }
    }
}

/// The headers as they are sent; an error's text says which cannot be.
pub(super) fn headers(wanted: &[(String, String)]) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let one = |(name, value): &(String, String)| {
        let sent = HeaderName::try_from(name).map_err(|_| format!("header {name:?}: this is no header's name"))?;
        if OWN.contains(&sent) {
            return Err(format!("header {name}: the requests have their own; remove it"));
        }
        let value = HeaderValue::from_str(value).map_err(|_| format!("header {name}: its value cannot be sent"))?;
        Ok((sent, value))
    };
    wanted.iter().map(one).collect()
}

/// As whom to ask. `Debug` never prints a secret.
#[derive(Clone, Default)]
pub enum HttpAuth {
    /// Nobody.
    #[default]
    None,
    /// `Authorization: Basic`.
    Basic {
        /// User, without a colon.
        user: String,
        /// Password.
        password: String,
    },
    /// `Authorization: Bearer`.
    Bearer {
        /// Token.
        token: String,
    },
}

impl fmt::Debug for HttpAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic",
            Self::Bearer { .. } => "Bearer",
        })
    }
}

impl HttpAuth {
    pub(super) fn header(&self) -> Result<Option<HeaderValue>, String> {
        let text = match self {
            Self::None => return Ok(None),
            Self::Basic { user, .. } if user.is_empty() || user.contains(':') => {
                return Err("credentials: the user must not be empty nor hold a colon".to_owned());
            }
            Self::Basic { user, password } => opendal::raw::format_authorization_by_basic(user, password),
            Self::Bearer { token } => opendal::raw::format_authorization_by_bearer(token),
        };
        // The library's words could quote the secret.
        let invalid = "credentials: they cannot be sent in a header".to_owned();
        let mut value = text.ok().and_then(|text| HeaderValue::from_str(&text).ok()).ok_or(invalid)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn headers_that_would_change_the_request_are_refused() {
        let of = |name: &str, value: &str| headers(&[(name.to_owned(), value.to_owned())]);
        assert_eq!(of("X-Team", "vision").unwrap(), [(HeaderName::from_static("x-team"), HeaderValue::from_static("vision"))]);
        for (name, value, expected) in [
            ("Range", "bytes=0-1", "header Range: the requests have their own; remove it"),
            ("accept-encoding", "gzip", "header accept-encoding: the requests have their own; remove it"),
            ("a b", "x", "header \"a b\": this is no header's name"),
            ("X-Team", "a\nb", "header X-Team: its value cannot be sent"),
        ] {
            assert_eq!(of(name, value).unwrap_err(), expected);
        }
    }

    #[test]
    fn credentials_become_headers_and_never_text() {
        let basic = HttpAuth::Basic { user: "Aladdin".into(), password: "open sesame".into() };
        let header = basic.header().unwrap().unwrap();
        assert_eq!(header.to_str().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let bearer = HttpAuth::Bearer { token: "t0ken".into() };
        assert_eq!(bearer.header().unwrap().unwrap().to_str().unwrap(), "Bearer t0ken");
        for text in [format!("{basic:?}"), format!("{bearer:?}"), format!("{header:?}")] {
            assert!(!text.contains("sesame") && !text.contains("t0ken") && !text.contains("QWx"), "{text}");
        }
        assert_eq!(HttpAuth::None.header(), Ok(None));
        for bad in [HttpAuth::Bearer { token: "a\nb".into() }, HttpAuth::Basic { user: "a:b".into(), password: "x".into() }] {
            let error = bad.header().unwrap_err();
            assert!(!error.contains("a\nb"), "{error}");
        }
    }
}
