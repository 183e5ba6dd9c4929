use std::ops::Range;

use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
        LAST_MODIFIED, RANGE,
    },
};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};

use super::entity::Head;

/// How much of a file answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// All of it.
    Whole,
    /// These bytes of it; they exist.
    Part(Range<u64>),
    /// Nothing: the client has it.
    NotModified,
    /// Nothing: the client wants bytes that are not there.
    Unsatisfiable,
}

/// Reads a request for a file, by RFC 9110 §13.2.2 (order of the conditions) and §14.2 (ranges).
///
/// Several ranges at once and ranges of a file whose length is not known yet are answered with all of it, which §14.2 allows
/// and clients of archives take.
pub(super) fn decide(method: &Method, request: &HeaderMap, head: &Head, length: Option<u64>) -> Answer {
    if is_known(request, head) {
        return Answer::NotModified;
    }
    let range = text(request, RANGE).filter(|_| method == Method::GET && range_applies(request, head));
    match (range, length) {
        (Some(range), Some(length)) => read_range(range, length),
        _ => Answer::Whole,
    }
}

/// The status and headers of an answer.
pub(super) fn headers(answer: &Answer, head: &Head, length: Option<u64>) -> (StatusCode, HeaderMap) {
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, value: Option<&str>| {
        if let Some(Ok(value)) = value.map(HeaderValue::from_str) {
            headers.insert(name, value);
        }
    };
    set(ETAG, head.etag.as_deref());
    set(LAST_MODIFIED, head.last_modified.as_deref());
    set(ACCEPT_RANGES, Some("bytes"));
    let total = length.unwrap_or_default();
    let (status, content) = match answer {
        Answer::NotModified => return (StatusCode::NOT_MODIFIED, headers),
        Answer::Unsatisfiable => {
            set(CONTENT_RANGE, Some(&format!("bytes */{total}")));
            return (StatusCode::RANGE_NOT_SATISFIABLE, headers);
        }
        Answer::Part(part) => {
            set(CONTENT_RANGE, Some(&format!("bytes {}-{}/{total}", part.start, part.end - 1)));
            (StatusCode::PARTIAL_CONTENT, Some(part.end - part.start))
        }
        Answer::Whole => (StatusCode::OK, length),
    };
    set(CONTENT_TYPE, Some(head.content_type.as_deref().unwrap_or("application/octet-stream")));
    set(CONTENT_LENGTH, content.map(|content| content.to_string()).as_deref());
    (status, headers)
}

/// RFC 9110 §13.1.2, §13.1.3: an ETag decides alone where one is given; it is compared weakly here.
fn is_known(request: &HeaderMap, head: &Head) -> bool {
    if let Some(known) = text(request, IF_NONE_MATCH) {
        let weak = |etag: &str| etag.trim().trim_start_matches("W/").to_owned();
        return head.etag.as_deref().is_some_and(|etag| known.split(',').any(|known| weak(known) == weak(etag)))
            || known.trim() == "*";
    }
    let known = text(request, IF_MODIFIED_SINCE).and_then(date);
    let modified = head.last_modified.as_deref().and_then(date);
    matches!((modified, known), (Some(modified), Some(known)) if modified <= known)
}

/// RFC 9110 §13.1.5: a range is of the version that the client has begun with, or it is no range.
fn range_applies(request: &HeaderMap, head: &Head) -> bool {
    text(request, IF_RANGE).is_none_or(|validator| {
        let strong = head.etag.as_deref().filter(|etag| !etag.starts_with("W/"));
        strong == Some(validator) || head.last_modified.as_deref() == Some(validator)
    })
}

/// `bytes=first-last`, `bytes=first-`, `bytes=-suffix`. What is not one of them is ignored, as RFC 9110 §14.2 wants it.
fn read_range(text: &str, length: u64) -> Answer {
    let number =
        |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten();
    let Some((first, last)) = text.trim().strip_prefix("bytes=").and_then(|spec| spec.trim().split_once('-')) else {
        return Answer::Whole;
    };
    let part = match (number(first), number(last)) {
        (Some(first), None) if last.is_empty() => first..length,
        (Some(first), Some(last)) if first <= last => first..length.min(last.saturating_add(1)),
        (None, Some(suffix)) if first.is_empty() => length.saturating_sub(suffix)..length,
        _ => return Answer::Whole,
    };
    if part.is_empty() { Answer::Unsatisfiable } else { Answer::Part(part) }
}

/// The date of RFC 9110 §5.6.7. Its two obsolete forms are not read: a client that sends one is served the file.
fn date(text: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text).ok()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Tue, 15 Nov 2022 12:45:26 GMT";
    const EARLIER: &str = "Tue, 15 Nov 2022 12:45:25 GMT";
    const LATER: &str = "Wed, 16 Nov 2022 12:45:26 GMT";

    fn head() -> Head {
        Head { etag: Some("\"a\"".into()), last_modified: Some(DATE.into()), content_type: None }
    }

    fn request(headers: &[(HeaderName, &'static str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn ranges() {
        use Answer::{Part, Unsatisfiable, Whole};
        for (range, answer) in [
            ("bytes=0-", Part(0..100)),
            ("bytes=0-0", Part(0..1)),
            ("bytes=10-19", Part(10..20)),
            ("bytes=99-", Part(99..100)),
            ("bytes=90-1000", Part(90..100)),
            ("bytes=90-18446744073709551615", Part(90..100)),
            ("bytes=-1", Part(99..100)),
            ("bytes=-1000", Part(0..100)),
            ("bytes=100-", Unsatisfiable),
            ("bytes=100-200", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=20-10", Whole),
            ("bytes=0-1,5-6", Whole),
            ("bytes=-", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=a-", Whole),
            ("lines=0-1", Whole),
        ] {
            let request = request(&[(RANGE, range)]);
            assert_eq!(decide(&Method::GET, &request, &head(), Some(100)), answer, "{range}");
            assert_eq!(decide(&Method::GET, &request, &head(), None), Whole, "{range} of an unknown length");
            assert_eq!(decide(&Method::HEAD, &request, &head(), Some(100)), Whole, "{range} of HEAD");
            let empty = decide(&Method::GET, &request, &head(), Some(0));
            assert!(!matches!(empty, Part(_)), "{range} of nothing");
        }
    }

    #[test]
    fn conditions() {
        for (headers, known) in [
            (vec![(IF_NONE_MATCH, "\"a\"")], true),
            (vec![(IF_NONE_MATCH, "\"b\", W/\"a\"")], true),
            (vec![(IF_NONE_MATCH, "*")], true),
            (vec![(IF_NONE_MATCH, "\"b\"")], false),
            (vec![(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, DATE)], false),
            (vec![(IF_MODIFIED_SINCE, DATE)], true),
            (vec![(IF_MODIFIED_SINCE, LATER)], true),
            (vec![(IF_MODIFIED_SINCE, EARLIER)], false),
            (vec![(IF_MODIFIED_SINCE, "yesterday")], false),
        ] {
            let request = request(&headers);
            let answer = decide(&Method::GET, &request, &head(), Some(100));
            assert_eq!(answer == Answer::NotModified, known, "{headers:?}");
            let nothing_known = decide(&Method::GET, &request, &Head::default(), Some(100)) == Answer::NotModified;
            assert_eq!(nothing_known, headers[0].1 == "*", "{headers:?} without validators");
        }
    }

    #[test]
    fn a_range_of_another_version_is_no_range() {
        for (validator, applies) in
            [("\"a\"", true), ("\"b\"", false), (DATE, true), (LATER, false), ("W/\"a\"", false)]
        {
            let request = request(&[(RANGE, "bytes=1-"), (IF_RANGE, validator)]);
            let answer = decide(&Method::GET, &request, &head(), Some(100));
            assert_eq!(answer, if applies { Answer::Part(1..100) } else { Answer::Whole }, "{validator}");
        }
    }

    #[test]
    fn headers_say_what_the_body_is() {
        let (status, part) = headers(&Answer::Part(10..20), &head(), Some(100));
        assert_eq!(
            (status, &part[CONTENT_RANGE], &part[CONTENT_LENGTH]),
            (
                StatusCode::PARTIAL_CONTENT,
                &HeaderValue::from_static("bytes 10-19/100"),
                &HeaderValue::from_static("10")
            )
        );
        let (status, none) = headers(&Answer::Unsatisfiable, &head(), Some(100));
        assert_eq!(
            (status, &none[CONTENT_RANGE]),
            (StatusCode::RANGE_NOT_SATISFIABLE, &HeaderValue::from_static("bytes */100"))
        );
        let (_, unknown) = headers(&Answer::Whole, &Head::default(), None);
        assert!(!unknown.contains_key(CONTENT_LENGTH) && unknown[CONTENT_TYPE] == "application/octet-stream");
    }
}
