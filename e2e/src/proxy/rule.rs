use std::time::Duration;

use super::http::RequestHead;

/// What a request asks of an S3 server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// GET with `list-type` in its query, or of a bucket.
    List,
    /// HEAD.
    Head,
    /// GET of an object.
    Get,
    /// Everything else.
    Other,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The proxy answers with this HTTP status and S3 error code, and the server sees nothing.
    Answer(u16, &'static str),
    /// The body ends after so many bytes and the connection closes.
    Truncate(u64),
    /// After so many bytes of the body nothing more comes until the rule is removed.
    Stall(u64),
    /// Nothing comes at all until the rule is removed.
    Hang,
    /// The answer starts so much later.
    Delay(Duration),
    /// The body comes at so many bytes a second.
    Slow(u64),
    /// The byte at this place of the body has its lowest bit flipped.
    Flip(u64),
}

/// A fault and the requests that it hits.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What goes wrong.
    pub fault: Fault,
    /// Only requests of this kind.
    pub kind: Option<RequestKind>,
    /// Only requests whose path and query contain this text.
    pub contains: String,
    /// So many requests, then it is spent; `None` for all until it is removed.
    pub times: Option<usize>,
}

impl Rule {
    /// Every request, until it is removed.
    pub fn all(fault: Fault) -> Self {
        Self { fault, kind: None, contains: String::new(), times: None }
    }

    /// GETs of objects, until it is removed.
    pub fn gets(fault: Fault) -> Self {
        Self { kind: Some(RequestKind::Get), ..Self::all(fault) }
    }

    /// Only requests whose path and query contain `text`.
    pub fn of(mut self, text: &str) -> Self {
        self.contains = text.into();
        self
    }

    /// Only the next `n` requests that match.
    pub fn times(mut self, n: usize) -> Self {
        self.times = Some(n);
        self
    }

    fn matches(&self, request: &RequestHead) -> bool {
        self.kind.is_none_or(|k| k == request.kind()) && request.target.contains(&self.contains) && self.times != Some(0)
    }
}

/// Names one added rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId(u64);

/// One request that went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it asked.
    pub kind: RequestKind,
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Value of its `Range` header.
    pub range: Option<String>,
    /// Status that the client got; 0 when it got none.
    pub status: u16,
    /// Body bytes that the client got.
    pub bytes: u64,
}

/// The faults in force.
#[derive(Debug, Default)]
pub(super) struct Rules {
    next: u64,
    rules: Vec<(RuleId, Rule)>,
}

impl Rules {
    pub(super) fn add(&mut self, rule: Rule) -> RuleId {
        let id = RuleId(self.next);
        self.next += 1;
        self.rules.push((id, rule));
        id
    }

    pub(super) fn remove(&mut self, id: RuleId) {
        self.rules.retain(|(other, _)| *other != id);
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(super) fn holds(&self, id: RuleId) -> bool {
        self.rules.iter().any(|(other, _)| *other == id)
    }

    /// The fault for this request, counting it as used.
    pub(super) fn take(&mut self, request: &RequestHead) -> Option<(RuleId, Fault)> {
        let (id, rule) = self.rules.iter_mut().find(|(_, rule)| rule.matches(request))?;
        if let Some(times) = &mut rule.times {
            *times -= 1;
        }
        Some((*id, rule.fault.clone()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn get(target: &str) -> RequestHead {
        RequestHead { method: "GET".into(), target: target.into(), headers: Vec::new(), raw: Vec::new() }
    }

    #[test]
    fn the_first_matching_rule_decides_and_is_spent() {
        let mut rules = Rules::default();
        let twice = rules.add(Rule::gets(Fault::Truncate(1)).of("/b/x").times(2));
        let always = rules.add(Rule::gets(Fault::Hang));
        let list = get("/b?list-type=2&prefix=x");
        assert_eq!(list.kind(), RequestKind::List);
        assert!(rules.take(&list).is_none());
        assert_eq!(rules.take(&get("/b/x")).unwrap().0, twice);
        assert_eq!(rules.take(&get("/b/y")).unwrap().0, always);
        assert_eq!(rules.take(&get("/b/x")).unwrap().0, twice);
        assert_eq!(rules.take(&get("/b/x")).unwrap().0, always);
        rules.remove(always);
        assert!(rules.take(&get("/b/x")).is_none());
    }
}
